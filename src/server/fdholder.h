/*
 * The fdholder: a process beside each worker that shares its descriptor table and nothing else.
 *
 *   worker:      accept4 ... fdstore_put        a SIGKILL in between leaves the connection in the table alone
 *   supervisor:  (the worker died) --CONTROL_COLLECT--> fdholder --CONTROL_HELD--> the connections, by number
 *
 * A dead process's table lives as long as somebody shares it. The fdholder sleeps in one system call until the worker
 * is dead, sends what the table holds of our connections, HELD_MAX at a time, and exits at once: until then the
 * worker's files, locks and sockets stay open. It is made before any Python runs in the worker and touches next to no
 * memory afterwards (docs/decisions/0011-connections-of-a-dead-worker.md has the measurements).
 */
#ifndef ASYA_SERVER_FDHOLDER_H
#define ASYA_SERVER_FDHOLDER_H

#include <stdbool.h>
#include <stdint.h>

/* In the new worker's process, while it has one thread: makes its fdholder, which listens on `channel` (one end of a
 * control_pair()) and returns connections accepted from `listener`. The channel's number stays open in the worker,
 * since the table is one. Returns 0 or -errno; without an fdholder a connection is safe only once it is stored. */
int fdholder_start(int channel, int listener);

/* What an fdholder gives at a time: no more than a dead worker's own slots leave free, so that a supervisor whose table
 * of descriptors is full has the numbers for them, if it deals with some before it takes the next. */
enum { HELD_MAX = 16 };

struct held {
    uint32_t count;
    int fds[HELD_MAX];         /* connections, checked to be Unix stream sockets; the caller's */
    int32_t numbers[HELD_MAX]; /* what each was in the worker's table */
};

/* In the supervisor, once the worker is dead: asks the fdholder behind `channel` for its connections. False if there is
 * none. */
bool fdholder_ask(int channel);

enum fdholder_step {
    FDHOLDER_GAVE,   /* some are there, and more may come */
    FDHOLDER_DONE,   /* that was all */
    FDHOLDER_SILENT, /* nothing more comes: it was killed, or the function closed its channel, or it took too long */
};

/* Its answer, some at a time; waits for no longer than until `deadline` (fdholder_deadline). */
enum fdholder_step fdholder_take(int channel, uint64_t deadline, struct held *ret_kept);

/* When to give up an fdholder that was asked now: 250 ms are enough. */
uint64_t fdholder_deadline(void);

#endif
