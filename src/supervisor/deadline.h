/*
 * Watches running requests from outside the interpreter: time limits (ASYA_HANDLER_TIMEOUT), and clients that went away
 * (docs/reliability.md, "What happens to a request").
 *
 *   since + limit      the stack is dumped, an exception is raised in the function
 *           + 100 ms   one log line with that stack
 *           + 150 ms   still running: the supervisor takes the connection and answers HandlerTimeout, or cuts
 *                      the stream
 *           + grace    still running: SIGTERM (ASYA_HANDLER_GRACE: 1 s; not before the answer)
 *           + 1 s      SIGKILL; the worker is replaced
 *
 * If other requests of the worker run within their own limits (ASYA_CONCURRENCY), the worker is replaced rather than
 * killed, and the last two steps wait for those requests. A function that stops when the exception is raised loses only
 * its own request; the worker goes on. Everything on the scoreboard is checked before it is used: a function that
 * overwrites the times can shorten or lengthen only the requests of its own worker.
 *
 * A request without an fdstore entry (no descriptor was left for it) is watched like the others. But only the worker
 * has its connection, so its reply comes when the worker is dead, 2 s after the limit by default.
 */
#ifndef ASYA_SUPERVISOR_DEADLINE_H
#define ASYA_SUPERVISOR_DEADLINE_H

#include "base/options.h"
#include "supervisor/worker.h"

/* Looks at one worker's running requests and does what is due. Returns when to call it again; CLOCK_NEVER: nothing to
 * wait for. */
uint64_t deadline_tend(struct worker *worker, const struct options *options, uint64_t now);

/* Whether a function runs in the worker, by the slots of its scoreboard. For slots that were overwritten: whether one
 * ran when they were last intact. */
bool deadline_any_running(const struct worker *worker);

/* A function of the worker has not stopped at its time limit, and its client was answered in its place. */
bool deadline_is_stuck(const struct worker *worker);

/* A request of the worker is over its time limit, and the stacks for the line about it are not read yet. */
bool deadline_is_dumping(const struct worker *worker);

/* Sets the bit of each slot whose request was over its time limit at the last look. */
void deadline_list_overdue(const struct worker *worker, uint64_t ret_overdue[SLOTS_MAX / 64]);

/* During a stop: asks each running function to end, unless it was asked already. Returns how many requests of the
 * worker run. */
uint32_t deadline_ask_to_stop(const struct worker *worker);

#endif
