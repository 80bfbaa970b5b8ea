/*
 * The keeper: a process beside each worker that shares its descriptor table and nothing else.
 *
 *   worker:      accept4 ... park_put        a SIGKILL in between leaves the connection in the table alone
 *   supervisor:  (the worker died) --CONTROL_COLLECT--> keeper --CONTROL_KEPT--> the connections, by number
 *
 * A dead process's table lives as long as somebody shares it. The keeper sleeps in one system call until the worker is
 * dead, sends what the table holds of our connections, and exits at once: until then the worker's files, locks and
 * sockets stay open. It is made before any Python runs in the worker and touches next to no memory afterwards
 * (docs/decisions/0011-connections-of-a-dead-worker.md has the measurements).
 */
#ifndef ASYA_SERVER_KEEPER_H
#define ASYA_SERVER_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

/* In the new worker's process, while it has one thread: makes its keeper, which listens on `channel` (one end of a
 * control_pair()) and returns connections accepted from `listener`. The channel's number stays open in the worker,
 * since the table is one. Returns 0 or -errno; without a keeper a connection is safe only once it is parked. */
int keeper_start(int channel, int listener);

struct kept {
    uint32_t count;
    int fds[1024];         /* connections, checked to be Unix stream sockets; the caller's */
    int32_t numbers[1024]; /* what each was in the worker's table */
};

/* In the supervisor, once the worker is dead: asks the keeper behind `channel` and waits for its answer, 250 ms at
 * most. False if there was none: `*ret_kept` holds what came until then. */
bool keeper_collect(int channel, struct kept *ret_kept);

#endif
