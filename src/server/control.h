/*
 * The control channel between the supervisor and one worker: a SOCK_SEQPACKET pair, one fixed-size message a packet,
 * with descriptors attached where the message says so. Both ends are non-blocking and CLOEXEC.
 */
#ifndef ASYA_SERVER_CONTROL_H
#define ASYA_SERVER_CONTROL_H

#include <stdint.h>

enum control_type {
    CONTROL_READY = 1, /* worker: the function is loaded, connections are accepted */
    CONTROL_DRAIN,     /* supervisor: answer what is queued, then end */
    CONTROL_LISTENER, /* supervisor: accept from the attached socket as well (it replaces one whose file was removed) */
    CONTROL_SHUT,     /* worker: the listening socket or the queue was shut down, and others are needed */
    CONTROL_QUEUE,    /* supervisor: take connections that are handed on from the attached socket from now on */
    CONTROL_SLOTS,    /* worker: the attached descriptors are the receiving ends of further fdstore entries */
    CONTROL_TRIM,     /* worker: slots beyond FDSTORE_KEPT are empty and closed here; close their receiving ends */
    CONTROL_CONNECTION, /* supervisor, in the queue all workers share: serve the attached connection */
    CONTROL_KEPT_ALIVE, /* likewise: requests were answered on it before, it is an HTTP connection between two of them
                         */
    CONTROL_RETIRE,     /* worker: I have served my ASYA_MAX_REQUESTS; supervisor: accept no more, finish, end */
    CONTROL_WATCH, /* worker: a request runs and nobody looks at the scoreboard (scoreboard.watched was 0), or the loop
                    * turns and somebody waits for that (scoreboard.awaited was set) */
    CONTROL_LOOK,  /* supervisor: nothing but a turn of the loop: what waits in the queue may have woken a process that
                    * does not run */
    CONTROL_STARVED, /* worker: its function holds the descriptors it would need for further connections */
    CONTROL_COLLECT, /* supervisor to fdholder: the worker is dead, which connections does its table hold? */
    CONTROL_HELD,    /* fdholder: these, by `numbers`; none: that was all */
};

enum { CONTROL_FDS_MAX = 32 }; /* descriptors in one message; the kernel's limit is 253 */

struct control_message {
    uint32_t type;                    /* enum control_type */
    uint32_t count;                   /* descriptors attached */
    int32_t numbers[CONTROL_FDS_MAX]; /* what numbers they had where they come from */
};

/* Makes the pair. Returns 0 or -errno. */
int control_pair(int *ret_supervisor, int *ret_worker);

/* Sends one message with `count` descriptors, which stay open here. Returns 0 or -errno (-EAGAIN: the queue is full).
 */
int control_send(int fd, enum control_type type, const int *fds, uint32_t count);

/* Receives one message and up to CONTROL_FDS_MAX descriptors (CLOEXEC, above the standard ones), which the caller owns;
 * those are -1 for which the table had no room: they are closed. Returns 1 for a message, 0 at the end of the channel,
 * or -errno: -EAGAIN when there is none, -EPROTO for one of a wrong size or count (its descriptors are closed). */
int control_receive(int fd, struct control_message *ret_message, int ret_fds[CONTROL_FDS_MAX]);

#endif
