/* What is due for a worker, by the state it is in: one function a state, each returns when it is to be called again. */
#include "base/clock.h"
#include "base/log.h"
#include "server/cancel.h"
#include "supervisor/deadline.h"
#include "supervisor/state.h"

#include <signal.h>

#define STOPPED_TIME (1 * CLOCK_SECOND) /* for a worker that was stopped to go on */
#define STACK_TIME   (50 * CLOCK_MS)    /* for a process to write its stacks before it is killed */

/* A worker that lives on without its channel, which the function has closed, would never hear that it is to end. */
static uint64_t tend_deaf(struct worker *worker, uint64_t now)
{
    if (worker->deaf_at <= now) {
        log_error("worker %u, pid %d, has closed its control channel and is replaced", worker->index, (int)worker->pid);
        worker->deaf_at = CLOCK_NEVER;
        worker_kill(worker, SIGKILL);
    }
    return worker->deaf_at;
}

/* One that is stopped from outside and does not go on would keep silent for ever; who stopped it may still look at it.
 */
static uint64_t tend_stopped(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t deadline = worker->stopped && !worker->due ? clock_after(worker->stopped_at, STOPPED_TIME) : CLOCK_NEVER;
    if (deadline > now) {
        return deadline;
    }
    replace_worker(supervisor, worker, "it was stopped by a signal a second ago, and does not go on");
    return CLOCK_NEVER;
}

/* Its requests: their time limits, and clients that went away. */
static uint64_t tend_serving(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t next = deadline_tend(worker, supervisor->options, now);
    next = clock_earlier(next, tend_deaf(worker, now));
    next = clock_earlier(next, tend_stopped(supervisor, worker, now));
    if (worker->wedged) {
        replace_worker(supervisor, worker, "a function does not stop, and others run beside it");
    }
    return next;
}

/* Spawns it when it is time. In the child this returns with is_worker set, after its life. */
static uint64_t tend_down(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    /* the first worker alone shows whether the function can be loaded: one traceback, not one for each */
    bool may_start = supervisor->phase == PHASE_SERVING || (supervisor->phase == PHASE_STARTING && worker->index == 0);
    if (worker->vacant || !may_start) {
        return CLOCK_NEVER;
    }
    if (worker->spawn_at <= now) {
        spawn(supervisor, worker);
    }
    return worker->state == WORKER_DOWN ? worker->spawn_at : now; /* not yet, or it could not be forked */
}

/* When it runs into ASYA_STARTUP_TIMEOUT. A stop has asked it to end, and has a time of its own for that. */
static uint64_t load_deadline(const struct supervisor *supervisor, const struct worker *worker)
{
    uint64_t limit = supervisor->options->startup_timeout;
    bool is_limited = limit > 0 && !worker->timed_out && supervisor->phase != PHASE_STOPPING;
    return is_limited ? clock_after(worker->started_at, limit) : CLOCK_NEVER;
}

/* Loading for too long: its stacks are written, then it is killed. */
static uint64_t tend_starting(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t deadline = load_deadline(supervisor, worker);
    if (deadline <= now) {
        worker->timed_out = true;
        worker->kill_at = clock_after(now, STACK_TIME);
        (void)kill(worker->pid, STACK_SIGNAL);
        deadline = CLOCK_NEVER;
    }
    if (worker->kill_at <= now) {
        worker->kill_at = CLOCK_NEVER;
        worker_kill(worker, SIGKILL);
    }
    return clock_earlier(worker->kill_at, deadline);
}

/* Retiring while the runtime goes on, or with it at its stop, which has a time of its own (stop.c). */
static uint64_t tend_stopping(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t next = tend_serving(supervisor, worker, now);
    return supervisor->phase == PHASE_SERVING ? clock_earlier(next, replace_tend(supervisor, worker, now)) : next;
}

static uint64_t tend_by_state(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    switch (worker->state) {
    case WORKER_DOWN:
        return tend_down(supervisor, worker, now);
    case WORKER_STARTING:
        return tend_starting(supervisor, worker, now);
    case WORKER_READY:
        return tend_serving(supervisor, worker, now);
    default:
        return tend_stopping(supervisor, worker, now);
    }
}

uint64_t tend_worker(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    if (worker_is_lost(worker, now, &next)) {
        reap_lost(supervisor, worker);
        return now;
    }
    return clock_earlier(next, tend_by_state(supervisor, worker, now));
}
