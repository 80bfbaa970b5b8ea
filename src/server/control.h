/*
 * The control channel between the supervisor and one worker: a SOCK_SEQPACKET socketpair. Each packet is one message of
 * fixed size, with descriptors attached where its type says so. Both ends are non-blocking and CLOEXEC.
 *
 * The same messages go through two other socketpairs: the queue, from which all workers take connections that the
 * supervisor hands on, and the channel between the supervisor and an fdholder.
 *
 * The messages, by who sends them and when:
 *
 *   start      worker: READY;  supervisor: SERVE, where there are spares
 *   template   supervisor: FORK;  template: FORKED, or RETIRE to be renewed;  supervisor to the new worker: BEGIN
 *   requests   worker: WATCH if the supervisor sleeps or waits for it; SLOTS, TRIM as the fdstore grows and shrinks
 *   sockets    worker: SHUT;  supervisor: LISTENER, QUEUE with new ones; LOOK if a worker may have missed its wake-up
 *   end        worker: RETIRE or STARVED to be replaced;  supervisor: RETIRE (it is replaced), DRAIN (at a stop)
 *   queue      supervisor: CONNECTION, KEPT_ALIVE
 *   fdholder   supervisor: COLLECT;  fdholder: HELD, until one without descriptors
 */
#ifndef ASYA_SERVER_CONTROL_H
#define ASYA_SERVER_CONTROL_H

#include <stdint.h>

enum control_type {
    CONTROL_READY = 1,  /* worker: the function is loaded; connections are accepted, or will be after SERVE */
    CONTROL_DRAIN,      /* supervisor: the runtime stops; answer what is queued, then end */
    CONTROL_LISTENER,   /* supervisor: accept from the attached socket; the file of the old one was removed, or the old
                           one was shut down */
    CONTROL_SHUT,       /* worker: the listening socket or the queue was shut down, and must be replaced */
    CONTROL_QUEUE,      /* supervisor: the attached socket is the new queue of connections that are handed on */
    CONTROL_SLOTS,      /* worker: the attached descriptors are the receiving ends of new fdstore entries */
    CONTROL_TRIM,       /* worker: entries beyond FDSTORE_KEPT are empty and closed here; close their receiving ends */
    CONTROL_CONNECTION, /* supervisor, in the queue that all workers share: serve the attached connection */
    CONTROL_KEPT_ALIVE, /* likewise; requests were answered on it before, and the next one has not begun (HTTP) */
    CONTROL_RETIRE,     /* worker: I have served ASYA_MAX_REQUESTS; supervisor: accept no more, finish, end */
    CONTROL_WATCH, /* worker: a request runs and nobody watches the scoreboard (`watched` was 0), or the loop turns and
                      the supervisor waits for that (`awaited` was set) */
    CONTROL_LOOK,  /* supervisor: look at the queue and the listener now; the kernel may have woken only a process that
                      has died or is stopped */
    CONTROL_SERVE, /* supervisor: accept connections; a worker that was told to wait has accepted none before */
    CONTROL_STARVED, /* worker: the function holds the descriptors that further connections would need */
    CONTROL_COLLECT, /* supervisor to fdholder: the worker is dead; which connections are in its table? */
    CONTROL_HELD,    /* fdholder: these connections, with their `numbers`; without any: there are no more */
    CONTROL_FORK,    /* supervisor to the template: fork the worker of index `value`, which gets the descriptors */
    CONTROL_FORKED,  /* template: the number of its process is `value`, or why there is none, -errno */
    CONTROL_BEGIN,   /* supervisor to a worker that the template has forked: you are known here */
};

enum { CONTROL_FDS_MAX = 32 }; /* descriptors in one message; the kernel's limit is 253 */

struct control_message {
    uint32_t type;                    /* enum control_type */
    uint32_t count;                   /* number of attached descriptors */
    int32_t value;                    /* where the type says so */
    int32_t numbers[CONTROL_FDS_MAX]; /* of each descriptor, its number in the sender's table */
};

/* Makes the socketpair. Returns 0 or -errno. */
int control_pair(int *ret_supervisor, int *ret_worker);

/* Sends one message with `count` descriptors, which stay open here. Returns 0 or -errno (-EAGAIN: the channel is
 * full). */
int control_send(int fd, enum control_type type, const int *fds, uint32_t count);

/* The same with a value. */
int control_send_value(int fd, enum control_type type, int32_t value, const int *fds, uint32_t count);

/* Receives one message and up to CONTROL_FDS_MAX descriptors (CLOEXEC, above the standard ones), which the caller owns.
 * A descriptor for which this process has no free number is closed, and -1 in `ret_fds`. Returns 1 for a message, 0 at
 * the end of the channel, or -errno: -EAGAIN if there is none, -EPROTO if its size or count is wrong (its descriptors
 * are closed). */
int control_receive(int fd, struct control_message *ret_message, int ret_fds[CONTROL_FDS_MAX]);

#endif
