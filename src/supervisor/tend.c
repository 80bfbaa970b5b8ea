/* What is due for a worker in its state. One function for each state; each returns when to call it again. */
#include "base/clock.h"
#include "base/log.h"
#include "server/cancel.h"
#include "supervisor/deadline.h"
#include "supervisor/running.h"
#include "supervisor/state.h"

#include <signal.h>

#define STOPPED_TIME (1 * CLOCK_SECOND) /* for a stopped worker (SIGSTOP) to continue */
#define STACK_TIME   (50 * CLOCK_MS)    /* for a process to write its stacks before SIGKILL */

/* The function has closed the control channel, and the worker lives on: it would never hear that it is to end. */
static uint64_t tend_deaf(struct worker *worker, uint64_t now)
{
    if (worker->deaf_at <= now) {
        log_event(LOG_LEVEL_ERROR, EVENT_WORKER_TAMPERED, WORKER_FACTS(worker),
                  "worker %u, pid %d, has closed its control channel and is replaced", worker->index, (int)worker->pid);
        worker->deaf_at = CLOCK_NEVER;
        worker_kill(worker, SIGKILL);
    }
    return worker->deaf_at;
}

/* A worker that was stopped from outside and does not continue would never answer. It is replaced, not killed: somebody
 * may have stopped it to look at it. */
static uint64_t tend_stopped(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t deadline = worker->stopped && !worker->due ? clock_after(worker->stopped_at, STOPPED_TIME) : CLOCK_NEVER;
    if (deadline > now) {
        return deadline;
    }
    replace_worker(supervisor, worker, "it was stopped by a signal a second ago, and does not go on");
    return CLOCK_NEVER;
}

/* What the function has left behind blocks the worker: a health check, a callback or task of its event loop, a signal
 * handler. If requests wait for the worker it has the time that a request would have, and is then ended as for one.
 * Its loop shows no progress, so each tick comes here. */
static uint64_t tend_blocked(const struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    const struct options *options = supervisor->options;
    if (worker->kill_at <= now) {
        char stack[WORKER_STACK_SIZE];
        worker_read_stack(worker, stack, sizeof stack);
        const struct log_facts facts = {.worker = worker->index, .pid = (int)worker->pid, .stack = stack};
        log_event(
            LOG_LEVEL_ERROR, EVENT_WORKER_ENDED, &facts,
            "worker %u, pid %d, has been blocked between requests for %llu ms (ASYA_HANDLER_TIMEOUT), and requests "
            "wait: it is ended",
            worker->index, (int)worker->pid, (unsigned long long)((now - worker->blocked_since) / CLOCK_MS));
        worker->kill_at = CLOCK_NEVER;
        worker->overran = true;
        worker_kill(worker, SIGKILL);
    } else if (worker->blocked_since != CLOCK_NEVER && worker->kill_at == CLOCK_NEVER && !worker->overran &&
               options->handler_timeout > 0 && (queue_is_waiting(supervisor) || running_is_any(worker->board)) &&
               clock_after(worker->blocked_since, clock_after(options->handler_timeout, options->handler_grace)) <=
                   now) {
        worker->kill_at = clock_after(now, STACK_TIME);
        (void)kill(worker->pid, STACK_SIGNAL);
    }
    return worker->kill_at;
}

/* Time limits of its requests, clients that went away, a closed channel, SIGSTOP. */
static uint64_t tend_serving(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t next = deadline_tend(worker, supervisor->options, now);
    next = clock_earlier(next, tend_deaf(worker, now));
    next = clock_earlier(next, tend_stopped(supervisor, worker, now));
    if (worker->state == WORKER_READY) {
        next = clock_earlier(next, tend_blocked(supervisor, worker, now));
    }
    if (supervisor->options->spares > 0 && spares_is_any_loaded(supervisor) && deadline_is_stuck(worker)) {
        replace_worker(supervisor, worker, "a function does not stop at its time limit");
    }
    if (worker->wedged) {
        replace_worker(supervisor, worker, "a function does not stop, and others run beside it");
    }
    return next;
}

/* Starts it when its delay is over. In the child this returns with is_worker set once the worker has finished. */
static uint64_t tend_down(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    /* only the first worker starts until the function was loaded once: if it cannot be, there is one traceback, not one
     * for each worker */
    bool may_start = supervisor->phase == PHASE_SERVING ||
                     (supervisor->phase == PHASE_STARTING && (worker->index == 0 || worker == supervisor->template));
    if (worker->vacant || !may_start || (worker->spare && !spares_may_load(supervisor))) {
        return CLOCK_NEVER;
    }
    if (!worker->spare && worker != supervisor->template && spares_is_any_loaded(supervisor)) {
        return now; /* in the next round one takes its place */
    }
    if (template_is_awaited(supervisor, worker)) {
        return CLOCK_NEVER; /* what it says, or its end, wakes us */
    }
    if (worker->spawn_at <= now) {
        spawn(supervisor, worker);
    }
    return worker->state == WORKER_DOWN && supervisor->asked != worker
               ? worker->spawn_at
               : now; /* not due yet, or the fork failed and spawn() has set the next try */
}

/* When ASYA_STARTUP_TIMEOUT ends for it. Not during a stop, which has asked it to end and has a time limit of its own.
 */
static uint64_t load_deadline(const struct supervisor *supervisor, const struct worker *worker)
{
    uint64_t limit = supervisor->options->startup_timeout;
    bool is_limited = limit > 0 && !worker->timed_out && supervisor->phase != PHASE_STOPPING;
    return is_limited ? clock_after(worker->started_at, limit) : CLOCK_NEVER;
}

/* A large model, a download or a deadlock: whoever reads the log sees that it is not the runtime that waits. */
static void tend_say_it_loads(const struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t loading = now - worker->started_at;
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_LOADING, WORKER_FACTS(worker),
              "%s %u, pid %d, is still loading %s after %llu s", state_kind(supervisor, worker), worker->index,
              (int)worker->pid, state_function(supervisor), (unsigned long long)(loading / CLOCK_SECOND));
    worker->still_at = clock_after(now, loading);
}

/* A worker that has been loading for too long writes its stacks and is then killed. */
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
    if (worker->still_at <= now) {
        tend_say_it_loads(supervisor, worker, now);
    }
    return clock_earlier(clock_earlier(worker->kill_at, deadline), worker->still_at);
}

/* It retires (replace.c), or the whole runtime stops, which has its own time limits (stop.c). */
static uint64_t tend_stopping(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    uint64_t next = tend_serving(supervisor, worker, now);
    return supervisor->phase == PHASE_SERVING ? clock_earlier(next, replace_tend(supervisor, worker, now)) : next;
}

static uint64_t tend_by_state(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    if (worker == supervisor->template && worker->state != WORKER_DOWN && worker->state != WORKER_STARTING) {
        return template_tend(supervisor, now);
    }
    switch (worker->state) {
    case WORKER_DOWN:
        return tend_down(supervisor, worker, now);
    case WORKER_STARTING:
        return tend_starting(supervisor, worker, now);
    case WORKER_SPARE:
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
