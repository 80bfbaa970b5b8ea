/*
 * The keeper: a process beside each worker that shares its descriptor table and nothing else.
 *
 *   worker:      accept4 ... park_put        a SIGKILL in between leaves the connection in the table alone
 *   supervisor:  (the worker died) --CONTROL_COLLECT--> keeper --CONTROL_KEPT--> the connections, by number
 *
 * A dead process's table lives as long as somebody shares it. The keeper sleeps in one system call until the worker is
 * dead, sends what the table holds of our connections, KEPT_MAX at a time, and exits at once: until then the worker's
 * files, locks and sockets stay open. It is made before any Python runs in the worker and touches next to no memory
 * afterwards (docs/decisions/0011-connections-of-a-dead-worker.md has the measurements).
 */
#ifndef ASYA_SERVER_KEEPER_H
#define ASYA_SERVER_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

/* In the new worker's process, while it has one thread: makes its keeper, which listens on `channel` (one end of a
 * control_pair()) and returns connections accepted from `listener`. The channel's number stays open in the worker,
 * since the table is one. Returns 0 or -errno; without a keeper a connection is safe only once it is parked. */
int keeper_start(int channel, int listener);

/* What a keeper gives at a time: no more than a dead worker's own slots leave free, so that a supervisor whose table of
 * descriptors is full has the numbers for them, if it deals with some before it takes the next. */
enum { KEPT_MAX = 16 };

struct kept {
    uint32_t count;
    int fds[KEPT_MAX];         /* connections, checked to be Unix stream sockets; the caller's */
    int32_t numbers[KEPT_MAX]; /* what each was in the worker's table */
};

/* In the supervisor, once the worker is dead: asks the keeper behind `channel` for its connections. False if there is
 * none. */
bool keeper_ask(int channel);

enum keeper_step {
    KEEPER_GAVE,   /* some are there, and more may come */
    KEEPER_DONE,   /* that was all */
    KEEPER_SILENT, /* nothing more comes: it was killed, or the function closed its channel, or it took too long */
};

/* Its answer, some at a time; waits for no longer than until `deadline` (keeper_deadline). */
enum keeper_step keeper_take(int channel, uint64_t deadline, struct kept *ret_kept);

/* When to give up a keeper that was asked now: 250 ms are enough. */
uint64_t keeper_deadline(void);

#endif
