/*
 * Watching requests from outside the interpreter: deadlines, and clients that went away (faults W7, C2).
 *
 *   since + limit      the stack is dumped, an exception is raised in the function
 *           + 100 ms   one log line with that stack
 *           + 150 ms   still running: the supervisor takes the connection and answers HandlerTimeout, or cuts
 *                      the stream
 *           + 1 s      still running: SIGTERM
 *           + 2 s      SIGKILL; the worker is replaced
 *
 * While other requests of the worker run within their own limits (ASYA_CONCURRENCY) it is not killed: it is retired,
 * and the last two steps wait for them. A function that obeys the exception loses nothing but its request: the worker
 * lives on. Everything read from the scoreboard is compared, never trusted: a worker that lies about times shortens or
 * lengthens its own requests.
 *
 * A request that has no fdstore entry, for want of descriptors, is watched like the others: all places on the page are
 * looked at. Its connection is the worker's alone, so its reply comes when the worker is dead, 2 s after the limit.
 */
#ifndef ASYA_SUPERVISOR_DEADLINE_H
#define ASYA_SUPERVISOR_DEADLINE_H

#include "base/options.h"
#include "supervisor/worker.h"

/* Looks at one worker's running requests and does what is due. Returns when to look again (CLOCK_NEVER: when something
 * else happens). */
uint64_t deadline_tend(struct worker *worker, const struct options *options, uint64_t now);

/* Whether a function runs in it, by the page's places; on those that were written over, as it was when last looked at.
 */
bool deadline_any_running(const struct worker *worker);

/* Sets the bit of each place whose request had run into its time limit when last looked at. */
void deadline_list_overdue(const struct worker *worker, uint64_t ret_overdue[SLOTS_MAX / 64]);

/* The runtime stops: asks each function that runs, and was not asked for another reason, to end. Returns how many of
 * the worker's requests run. */
uint32_t deadline_ask_to_stop(const struct worker *worker);

#endif
