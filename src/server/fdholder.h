/*
 * The fdholder: a process beside each worker that shares the worker's descriptor table (CLONE_FILES) and nothing else.
 *
 *   worker:      accept4 ... fdstore_put        a SIGKILL in between leaves the connection in the table alone
 *   supervisor:  (the worker died) --CONTROL_COLLECT--> fdholder --CONTROL_HELD--> the connections, by number
 *
 * A table of descriptors lives as long as some process uses it. So the connections of a dead worker stay open in the
 * fdholder, even those that were not stored yet.
 *
 *   start     the worker makes its fdholder before any Python runs; it touches next to no memory afterwards
 *   waiting   the fdholder sleeps in one system call until the supervisor asks, or the channel ends
 *   asked     it sends the connections in the table, at most HELD_MAX in one message, then a message without any, and
 *             exits at once: until then the worker's files, locks and sockets stay open. What it cannot send it
 *             answers itself
 *   alone     if nobody asks within a second of the worker's death, it exits
 *
 * docs/decisions/0011-connections-of-a-dead-worker.md has the measurements.
 */
#ifndef ASYA_SERVER_FDHOLDER_H
#define ASYA_SERVER_FDHOLDER_H

#include "server/scoreboard.h"
#include "wire/protocol.h"

#include <stdbool.h>
#include <stdint.h>

/* To be called in the new worker's process while it has one thread. Makes its fdholder, which waits on `channel` (one
 * end of a control_pair()) and gives the connections that were accepted from `listener`. What it cannot give it answers
 * itself (unstored.h), by what the worker's `board` says; NULL: it does not. `protocol`: ASYA_PROTOCOL. The worker must
 * keep the channel open, since both share one table. Returns 0 or -errno: without an fdholder a connection is safe only
 * once it is stored. */
int fdholder_start(int channel, int listener, struct scoreboard *board, enum protocol protocol);

/* Connections in one message. Closing a dead worker's fdstore entries frees at least as many descriptors, so even a
 * supervisor whose table is full can take them, if it deals with some before it takes the next. */
enum { HELD_MAX = 16 };

struct held {
    uint32_t count;
    int fds[HELD_MAX];         /* checked to be Unix stream sockets; the caller owns them */
    int32_t numbers[HELD_MAX]; /* the number of each in the worker's table */
};

/* To be called in the supervisor once the worker is dead: asks the fdholder behind `channel` for its connections. False
 * if there is no fdholder. */
bool fdholder_ask(int channel);

enum fdholder_step {
    FDHOLDER_GAVE,   /* some connections were given, and more may come */
    FDHOLDER_DONE,   /* there are no more */
    FDHOLDER_SILENT, /* no answer: it was killed, the function closed its channel, or the time is over */
};

/* Takes the next part of the answer. Waits until `deadline` (fdholder_deadline) at the latest. */
enum fdholder_step fdholder_take(int channel, uint64_t deadline, struct held *ret_kept);

/* The deadline for an fdholder that is asked now: in 250 ms. */
uint64_t fdholder_deadline(void);

#endif
