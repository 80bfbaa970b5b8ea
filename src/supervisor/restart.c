/* What follows a worker's death: replies to its clients, one log line with the cause, and when the next worker starts.
 * A worker that had answered something, or lived for 30 s, is restarted at once; if deaths follow each other the delay
 * doubles from 100 ms to 10 s (docs/decisions/0002). */
#include "base/clock.h"
#include "base/exits.h"
#include "base/log.h"
#include "server/cancel.h"
#include "supervisor/cgroup.h"
#include "supervisor/deadline.h"
#include "supervisor/ledger.h"
#include "supervisor/running.h"
#include "supervisor/state.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* After this much life a worker counts as healthy: failures before it are forgotten. */
#define HEALTHY_AFTER (30 * CLOCK_SECOND)
/* After a replacement or a spare that could not start. The workers still serve, so there is no hurry, and loading may
 * be costly. */
#define REPLACE_AGAIN (60 * CLOCK_SECOND)

/* What the log line about a death says besides the cause. */
struct obituary {
    struct running running;     /* the requests it had */
    struct recovered recovered; /* what happened to their connections */
};

/* The kernel's OOM killer sends SIGKILL and counts a kill in the cgroup. Only both together prove that it killed this
 * worker. A library's abort for want of memory is noted by the worker itself. */
static void judge_memory(struct worker *worker, struct cause *cause)
{
    uint32_t memory_denied = atomic_load_explicit(&worker->board->memory_denied, memory_order_relaxed);
    cause->memory_denied = cause->signal == SIGABRT && memory_denied == MEMORY_DENIED && !cause->overwrote;
    uint64_t kills;
    if (cause->signal == SIGKILL && !worker->overran && worker->oom_known && cgroup_oom_kills(&kills)) {
        cause->out_of_memory = kills > worker->oom_kills;
    }
}

static struct recovered answer_stored(struct supervisor *supervisor, struct worker *worker, const struct cause *cause)
{
    struct error err;
    cause_error(cause, &err);
    if (supervisor->is_over_time) {
        cancel_stopping_error(&err);
    }
    struct error late;
    struct error expired;
    bool is_memory = cause->out_of_memory || cause->memory_denied;
    cancel_timeout_error(&late, supervisor->options->handler_timeout);
    cancel_late_error(&expired, 0, true);
    struct recovery recovery = {.board = worker->board,
                                .is_overwritten = cause->overwrote,
                                .runs = worker->runs,
                                .orphans = &supervisor->orphans,
                                .died = &err,
                                .late = is_memory ? &err : &late,
                                .expired = is_memory ? &err : &expired,
                                .timeout = supervisor->options->handler_timeout};
    deadline_list_overdue(worker, recovery.overdue);
    recover_slots(&recovery, worker->fdstore.receive, worker->fdstore.count);
    fdstore_done(&worker->fdstore); /* first: descriptors may be scarce, and the fdholder sends us some */
    if (!recover_from_fdholder(&recovery, worker->fdholder)) {
        log_event(LOG_LEVEL_DEBUG, EVENT_RUNTIME_DEGRADED, WORKER_FACTS(worker),
                  "worker %u: its fdholder did not answer", worker->index);
    }
    return recovery.done;
}

/* For GET /status: first what the worker has noted itself, then how it ended. */
static void note_death(struct supervisor *supervisor, const struct worker *worker, const struct error *err,
                       const struct running *running, const char *stack)
{
    const char *id = running->count == 1 && running->named == 1 ? running->names[0] : "";
    char file[RECORD_NAME_SIZE];
    record_name(&running->record, (int)worker->pid, file);
    incidents_add_error(&supervisor->incidents, err, id, file, (int32_t)worker->index, stack);
}

static void log_death(struct supervisor *supervisor, const struct worker *worker, const struct cause *cause,
                      const struct obituary *obituary, const char *next)
{
    const struct recovered *recovered = &obituary->recovered;
    char text[CAUSE_TEXT_SIZE];
    char names[RUNNING_TEXT_SIZE];
    char stack[WORKER_STACK_SIZE];
    cause_describe(cause, text);
    running_describe(&obituary->running, names);
    uint64_t requests = atomic_load_explicit(&worker->board->requests, memory_order_relaxed);
    worker_read_stack(worker, stack, sizeof stack);
    struct error err;
    cause_error(cause, &err);
    note_death(supervisor, worker, &err, &obituary->running, stack);
    const struct log_facts facts = {.request = running_about(&obituary->running),
                                    .worker = worker->index,
                                    .pid = (int)worker->pid,
                                    .category = error_code(err.category),
                                    .error_type = err.type,
                                    .duration = clock_now() - worker->started_at,
                                    .stack = stack};
    log_event(LOG_LEVEL_ERROR, EVENT_WORKER_DIED, &facts,
              "worker %u, pid %d, %s after %llu requests, peak memory %llu MiB; "
              "%u answered for it%s, %u handed on, %u to be sent again; %s",
              worker->index, (int)worker->pid, text, (unsigned long long)requests,
              (unsigned long long)(cause->peak_rss >> 20), recovered->answered, names, recovered->handed_on,
              recovered->partial, next);
}

static int start_failure_code(const struct worker *worker, const struct cause *cause)
{
    if (worker->timed_out) {
        return EXIT_START_TIMEOUT;
    }
    if (cause->own) {
        return cause->status; /* the worker has logged its cause */
    }
    return EXIT_IMPORT;
}

static void log_start_failure(struct supervisor *supervisor, const struct worker *worker, const struct cause *cause,
                              char stack[WORKER_STACK_SIZE])
{
    char message[512];
    char text[CAUSE_TEXT_SIZE];
    cause_describe(cause, text);
    if (worker->timed_out) {
        (void)snprintf(message, sizeof message, "the function was not loaded within %llu ms (ASYA_STARTUP_TIMEOUT)",
                       (unsigned long long)(supervisor->options->startup_timeout / CLOCK_MS));
    } else if (cause->own) {
        return; /* the worker has logged it */
    } else {
        (void)snprintf(message, sizeof message, "the worker process %s while it loaded '%.200s'", text,
                       supervisor->options->process_module);
    }
    worker_read_stack(worker, stack, WORKER_STACK_SIZE);
    const struct log_facts facts = {
        .worker = worker->index, .pid = (int)worker->pid, .duration = clock_now() - worker->started_at, .stack = stack};
    log_event(LOG_LEVEL_ERROR, EVENT_START_FAILED, &facts, "%s", message);
}

/* For the reply to clients that wait in vain for a worker (fallback.c). */
static void describe_failed_start(const struct worker *worker, const struct cause *cause, char text[LAST_DEATH_SIZE])
{
    char how[CAUSE_TEXT_SIZE];
    if (worker->timed_out) {
        (void)snprintf(text, LAST_DEATH_SIZE, "did not load the function in time (ASYA_STARTUP_TIMEOUT)");
    } else if (cause->own) {
        (void)snprintf(text, LAST_DEATH_SIZE, "could not load the function");
    } else {
        cause_describe(cause, how);
        (void)snprintf(text, LAST_DEATH_SIZE, "%s while it loaded the function", how);
    }
}

/* It died before it was ready. At the first start that is final: returns the exit code to stop with. A runtime that has
 * served before tries again without end, since the machine or a service that the function needs may recover. */
static int after_failed_start(struct supervisor *supervisor, struct worker *worker, const struct cause *cause)
{
    struct error err;
    char stack[WORKER_STACK_SIZE] = "";
    log_start_failure(supervisor, worker, cause, stack);
    if (supervisor->phase == PHASE_STARTING) {
        return start_failure_code(worker, cause);
    }
    describe_failed_start(worker, cause, supervisor->last_death);
    error_set(&err, ERR_SERVER, 0, "the next worker %s", supervisor->last_death);
    note_death(supervisor, worker, &err, &(struct running){0}, stack);
    uint64_t delay = worker_restart_delay(++worker->failures);
    bool is_replacement = worker->replaces != WORKER_NONE;
    bool is_template = worker == supervisor->template;
    if ((is_replacement || worker->spare || is_template) && delay < REPLACE_AGAIN) {
        delay = REPLACE_AGAIN;
    }
    worker->spawn_at = clock_after(clock_now(), delay);
    log_error(EVENT_START_FAILED, "%s %u did not start; next try in %llu ms%s", state_kind(supervisor, worker),
              worker->index, (unsigned long long)(delay / CLOCK_MS),
              is_template      ? ", and workers load it themselves"
              : is_replacement ? ", and the one it was to replace serves on"
                               : "");
    return EXIT_OK;
}

/* It died while serving. */
static void after_crash(struct supervisor *supervisor, struct worker *worker, const struct cause *cause,
                        const struct obituary *obituary)
{
    uint64_t now = clock_now();
    uint64_t requests = atomic_load_explicit(&worker->board->requests, memory_order_relaxed);
    if (requests > 1 || now - worker->started_at >= HEALTHY_AFTER) {
        worker->failures = 0;
        supervisor->deaths = 0;
    }
    bool is_idle = worker->spare && worker->state == WORKER_SPARE;
    uint64_t delay = worker_restart_delay(worker->failures++);
    if (!is_idle) {
        supervisor->deaths++;
        cause_describe(cause, supervisor->last_death);
    }
    worker->spawn_at = clock_after(now, delay);
    char next[64] = "it was being replaced";
    if (!is_idle && !worker->vacant && (worker->spare || spares_is_any_loaded(supervisor))) {
        (void)snprintf(next, sizeof next, "a spare takes its place");
    } else if (!worker->vacant) {
        (void)snprintf(next, sizeof next, "a new one starts in %llu ms", (unsigned long long)(delay / CLOCK_MS));
    }
    log_death(supervisor, worker, cause, obituary, next);
}

/* A worker that was told to end, and does, has no other cause. */
static enum ledger_exit ending_of(const struct supervisor *supervisor, const struct worker *worker,
                                  const struct cause *cause, bool clean)
{
    if (supervisor->phase == PHASE_STOPPING &&
        (clean || supervisor->is_over_time || worker->state == WORKER_STARTING)) {
        return ENDED_STOPPED;
    }
    if (clean || worker->terminated) {
        return ENDED_REPLACED;
    }
    if (worker->timed_out) {
        return ENDED_START_TIMEOUT;
    }
    if (cause->lost) {
        return ENDED_LOST;
    }
    if (cause->overwrote) {
        return ENDED_OVERWRITE;
    }
    if (cause->out_of_memory || cause->memory_denied) {
        return ENDED_MEMORY;
    }
    if (worker->state == WORKER_STARTING) {
        return ENDED_START_FAILED;
    }
    if (cause->overran) {
        return ENDED_TIMEOUT;
    }
    return cause->signal != 0 ? ENDED_SIGNAL : ENDED_EXIT;
}

/* Workers serve on: nothing that they need is the template's. */
static void log_end_of_template(const struct worker *template, const struct cause *cause)
{
    char text[CAUSE_TEXT_SIZE];
    cause_describe(cause, text);
    log_event(LOG_LEVEL_ERROR, EVENT_WORKER_DIED, WORKER_FACTS(template),
              "template %u, pid %d, %s; workers serve on, and a new one is loaded", template->index, (int)template->pid,
              text);
}

/* The same for the template. */
static int restart_template(struct supervisor *supervisor, struct cause *cause)
{
    struct worker *template = supervisor->template;
    uint64_t now = clock_now();
    int code = EXIT_OK;
    capture_finish(supervisor, template);
    judge_memory(template, cause);
    cause->own = cause->signal == 0 && scoreboard_has_noted_exit(template->board, cause->status);
    if (supervisor->phase == PHASE_STOPPING || template->due) {
        template->spawn_at = now;
    } else if (cause->own && cause->status == EXIT_OK) {
        template->vacant = true; /* it cannot be forked, and has said why */
    } else if (template->state == WORKER_STARTING) {
        code = after_failed_start(supervisor, template, cause);
        supervisor->load_failed = true;
    } else {
        template->failures = now - template->started_at >= HEALTHY_AFTER ? 0 : template->failures;
        template->spawn_at = clock_after(now, worker_restart_delay(template->failures++));
        log_end_of_template(template, cause);
    }
    template_ended(supervisor);
    return code;
}

int restart_after_death(struct supervisor *supervisor, struct worker *worker, struct cause *cause)
{
    if (worker == supervisor->template) {
        return restart_template(supervisor, cause);
    }
    int code = EXIT_OK;
    struct obituary obituary = {0};
    capture_finish(supervisor, worker);
    cause->overran = worker->overran;
    cause->overwrote = worker->overwritten || !scoreboard_is_plausible(worker->board);
    judge_memory(worker, cause);
    cause->own = cause->signal == 0 && scoreboard_has_noted_exit(worker->board, cause->status);
    if (cause->own && cause->status == EXIT_TAMPERED) {
        supervisor->next_check = 0; /* check the socket at once: the function may have shut it down, and the next worker
                                       would give up in the same way */
    }
    scoreboard_settle(worker->board);
    running_add(&obituary.running, worker->board);
    incidents_collect(&supervisor->incidents, &worker->board->incidents, &worker->incidents_seen,
                      (int32_t)worker->index);
    obituary.recovered = answer_stored(supervisor, worker, cause);
    bool clean = worker->state == WORKER_STOPPING && cause->signal == 0 && cause->status == EXIT_OK;
    enum ledger_exit ending = ending_of(supervisor, worker, cause, clean);
    worker->ends[ending]++;
    ledger_absorb(&worker->board->tally, &worker->seen);
    ledger_note_exit(ending, cause->signal);
    if (supervisor->series != NULL) {
        series_clear(supervisor->series, worker->index);
    }
    if (supervisor->phase == PHASE_STOPPING) {
        if (!clean && !supervisor->is_over_time && worker->state == WORKER_STOPPING) {
            log_death(supervisor, worker, cause, &obituary, "the runtime is stopping");
        }
    } else if (worker->state == WORKER_STARTING) {
        code = after_failed_start(supervisor, worker, cause);
    } else if (clean || worker->terminated) { /* terminated: logged when it got SIGTERM */
        worker->failures = 0;
        worker->spawn_at = clock_now();
    } else {
        after_crash(supervisor, worker, cause, &obituary);
    }
    worker_ended(worker);
    if (supervisor->phase == PHASE_SERVING) {
        replace_ended(supervisor, worker);
        queue_wake(supervisor);
    }
    if (supervisor->phase != PHASE_STOPPING && state_count(supervisor, WORKER_READY) == 0) {
        supervisor->alone_since = clock_now();
        orphans_reclaim(&supervisor->orphans, supervisor->queue_receive, supervisor->alone_since);
        socket_file_show_readiness(supervisor);
    }
    return code;
}
