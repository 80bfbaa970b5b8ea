/*
 * The end of the runtime. Clients that are connected are answered first, then the workers end:
 *
 *   SIGTERM           running requests may finish, and waiting clients are answered
 *   the last second   functions that still run are asked to stop, as at a time limit, so that `finally`, `atexit` and
 *                     the end of a stream have time to run. Its last quarter: SIGTERM to the workers' process groups.
 *                     A tenth of the grace period instead of a second, if that is shorter
 *   the end           SIGKILL, and server_error for every client that still waits
 */
#include "base/clock.h"
#include "base/exits.h"
#include "base/log.h"
#include "server/cancel.h"
#include "server/control.h"
#include "supervisor/deadline.h"
#include "supervisor/readyfile.h"
#include "supervisor/running.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TERM_TIME     (1 * CLOCK_SECOND) /* between SIGTERM and SIGKILL */
#define SOFT_TIME     (1 * CLOCK_SECOND) /* for functions to stop after they were asked to, SIGTERM included */
#define LOOK_INTERVAL (20 * CLOCK_MS) /* between checks for requests that began after the others were asked to stop */

static void stop_kill_all(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->process_count; i++) {
        worker_kill(&supervisor->workers[i], SIGKILL);
    }
}

uint64_t stop_term(const struct supervisor *supervisor, uint64_t now)
{
    uint64_t term = clock_after(now, TERM_TIME);
    if (supervisor->phase != PHASE_STOPPING) {
        return term;
    }
    return supervisor->kill_at == CLOCK_NEVER ? now : clock_earlier(term, supervisor->kill_at);
}

/* Also one that is being replaced: it gets no successor any more. */
static void stop_worker(struct supervisor *supervisor, struct worker *worker)
{
    if (worker->state == WORKER_DOWN) {
        return;
    }
    if (worker == supervisor->template && worker->state != WORKER_STARTING) {
        template_abandon(supervisor); /* whom it has just forked would come after all were told to stop */
        worker_kill(worker, SIGKILL); /* it holds nothing that could be lost */
        return;
    }
    if (worker->state == WORKER_STARTING && !scoreboard_close(worker->board)) { /* it has no clients */
        worker_kill(worker, SIGTERM);
        worker->kill_at = stop_term(supervisor, clock_now());
        return;
    }
    worker_end(worker);
    worker->kill_at = CLOCK_NEVER; /* from now on the grace period of the stop counts */
    int status = control_send(worker->control, CONTROL_DRAIN, NULL, 0);
    if (status < 0 && status != -EPIPE && status != -ECONNRESET) { /* these: it is ending already */
        log_event(LOG_LEVEL_WARNING, EVENT_RUNTIME_ERROR, WORKER_FACTS(worker), "worker %u cannot be told to stop: %s",
                  worker->index, strerror(-status));
        worker_kill(worker, SIGKILL);
    }
}

void stop_begin(struct supervisor *supervisor, const char *reason, int exit_code)
{
    if (supervisor->phase == PHASE_STOPPING) {
        return;
    }
    bool started = supervisor->phase != PHASE_STARTING;
    if (started || exit_code == EXIT_OK) { /* at a failed start the line that names the cause is to stay the last one */
        log_info(EVENT_RUNTIME_STOPPING, "stopping: %s", reason);
    }
    supervisor->phase = PHASE_STOPPING;
    supervisor->stop_reason = reason;
    supervisor->exit_code = exit_code;
    supervisor->is_quiet = !started && exit_code != EXIT_OK;
    supervisor->kill_at = clock_after(clock_now(), supervisor->options->grace_period);
    readyfile_remove(supervisor->options->ready_file);
    fallback_close(supervisor);
    listener_hide(&supervisor->listener);
    if (state_count(supervisor, WORKER_READY) + state_count(supervisor, WORKER_STOPPING) > 0) {
        (void)fallback_hand_over(supervisor, clock_now());
    }
    for (uint32_t i = 0; i < supervisor->process_count; i++) {
        stop_worker(supervisor, &supervisor->workers[i]);
    }
}

/* What runs in all workers. */
static struct running stop_running(const struct supervisor *supervisor)
{
    struct running running = {0};
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        if (supervisor->workers[i].pid > 0) {
            running_add(&running, supervisor->workers[i].board);
        }
    }
    return running;
}

/* Asks running functions to stop. A worker that runs nothing and has not ended is asked to write its stacks, for the
 * log line that says what holds it up. */
static void stop_ask_functions(struct supervisor *supervisor, uint64_t left)
{
    struct running running = stop_running(supervisor);
    if (!supervisor->is_softened && running.count > 0) {
        char names[RUNNING_TEXT_SIZE];
        running_describe(&running, names);
        const struct log_facts facts = {.request = running_about(&running)};
        log_event(LOG_LEVEL_WARNING, EVENT_STOP_FORCED, &facts,
                  "the grace period (ASYA_GRACE_PERIOD) is over in %llu ms: %u requests that run are asked to stop%s",
                  (unsigned long long)(left / CLOCK_MS), running.count, names);
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_STOPPING && deadline_ask_to_stop(worker) == 0 && !supervisor->is_softened) {
            (void)kill(worker->pid, STACK_SIGNAL);
        }
    }
    supervisor->is_softened = true;
}

/* SIGTERM to workers that have not ended and to the processes that the functions have started. */
static void stop_terminate(struct supervisor *supervisor)
{
    supervisor->is_over_time = true;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->pid <= 0) {
            continue;
        }
        char text[HOLDUP_TEXT_SIZE];
        char stack[WORKER_STACK_SIZE];
        running_describe_holdup(worker->board, text);
        worker_read_stack(worker, stack, sizeof stack);
        const struct log_facts facts = {.worker = worker->index, .pid = (int)worker->pid, .stack = stack};
        log_event(LOG_LEVEL_WARNING, EVENT_STOP_FORCED, &facts,
                  "the grace period (ASYA_GRACE_PERIOD) ends: worker %u, pid %d, %s, and is ended%s", worker->index,
                  (int)worker->pid, text, stack[0] != '\0' ? "" : "; no stack could be had");
        remains_terminate(worker->pid);
    }
}

uint64_t stop_tend(struct supervisor *supervisor, uint64_t now)
{
    uint64_t end = supervisor->kill_at;
    uint64_t tenth = supervisor->options->grace_period / 10;
    uint64_t soft = tenth < SOFT_TIME ? tenth : SOFT_TIME;
    if (end == CLOCK_NEVER) {
        return end;
    }
    if (end <= now) {
        stop_now(supervisor, "the grace period is over (ASYA_GRACE_PERIOD)");
        return CLOCK_NEVER;
    }
    if (now < end - soft) {
        return end - soft;
    }
    stop_ask_functions(supervisor, end - now);
    uint64_t terminate_at = end - soft / 4;
    if (now < terminate_at) {
        return clock_earlier(clock_after(now, LOOK_INTERVAL), terminate_at);
    }
    if (!supervisor->is_over_time) {
        stop_terminate(supervisor);
    }
    return clock_earlier(clock_after(now, LOOK_INTERVAL), end);
}

void stop_now(struct supervisor *supervisor, const char *reason)
{
    struct running running = stop_running(supervisor);
    if (running.count > 0) {
        log_warning(EVENT_STOP_FORCED, "stopping now: %s; %u requests that still run are answered with server_error",
                    reason, running.count);
    } else {
        log_warning(EVENT_STOP_FORCED, "stopping now: %s", reason);
    }
    supervisor->kill_at = CLOCK_NEVER;
    supervisor->is_over_time = true;
    stop_kill_all(supervisor);
    remains_hurry(&supervisor->remains);
}
