/*
 * Replacing a worker that is still alive: after ASYA_MAX_REQUESTS requests, above ASYA_MAX_RSS, or because a function
 * does not stop at its time limit while other requests run in the same worker.
 *
 *   due -> the successor starts in the vacant place -> it is ready -> the old one retires -> ends
 *          (the old one serves on)                                    its place is the vacant one now
 *
 * A replacement must not cause an outage. So the old worker keeps everything until the new one is ready, and nobody
 * waits for what then still holds it up (requests, threads, a slow atexit). If the successor cannot start, the old
 * worker goes on serving. While both exist the function is loaded twice.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/statm.h"
#include "supervisor/running.h"
#include "supervisor/state.h"

#include <signal.h>
#include <stdio.h>

#define LOOK_INTERVAL (100 * CLOCK_MS)   /* between checks whether a retiring worker still has a request */
#define KILL_AFTER    (1 * CLOCK_SECOND) /* between SIGTERM and SIGKILL for one that does not end */

/* Tells it to stop accepting, to finish its requests and to end. Connections that it has not begun to read go to other
 * workers. */
static void replace_retire(struct supervisor *supervisor, struct worker *worker)
{
    worker_end(worker);
    worker_give(worker, CONTROL_RETIRE, -1);
    tick_take_unread(supervisor, worker);
    tick_wake(supervisor, clock_now());
}

/* When a worker without a running function has to end. Requests that arrive and replies that go out have their own time
 * limits, which the worker itself keeps as long as nothing blocks it. */
static uint64_t replace_end(const struct options *options, const struct running *running, uint64_t now)
{
    uint64_t end = clock_after(now, options->grace_period);
    end = running->partial > 0 ? clock_after(end, options->read_timeout) : end;
    return running->sending > 0 ? clock_after(end, options->write_timeout) : end;
}

/* The function may run as long as ASYA_HANDLER_TIMEOUT allows. Otherwise, whatever keeps the process from ending
 * (threads, atexit, what blocks its loop while a request has partly arrived) has a limit. */
uint64_t replace_tend(struct supervisor *supervisor, struct worker *worker, uint64_t now)
{
    struct running running = {0};
    running_add(&running, worker->board);
    if (running.count > running.sending) {
        worker->kill_at = CLOCK_NEVER;
        return clock_after(now, LOOK_INTERVAL);
    }
    if (!worker->terminated) {
        worker->kill_at = clock_earlier(worker->kill_at, replace_end(supervisor->options, &running, now));
    }
    if (worker->kill_at <= now && !worker->terminated) {
        worker->terminated = true;
        worker->kill_at = clock_after(now, KILL_AFTER);
        char text[HOLDUP_TEXT_SIZE];
        running_describe_holdup(worker->board, text);
        log_event(LOG_LEVEL_WARNING, EVENT_WORKER_ENDED, WORKER_FACTS(worker),
                  "worker %u, pid %d, was replaced and %s: it is ended (ASYA_GRACE_PERIOD)", worker->index,
                  (int)worker->pid, text);
        worker_kill(worker, SIGTERM);
    } else if (worker->kill_at <= now) {
        worker->kill_at = clock_after(now, KILL_AFTER);
        worker_kill(worker, SIGKILL);
    }
    return running.partial + running.sending > 0 ? clock_earlier(worker->kill_at, clock_after(now, LOOK_INTERVAL))
                                                 : worker->kill_at;
}

static struct worker *find_vacant(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        if (supervisor->workers[i].vacant && supervisor->workers[i].state == WORKER_DOWN) {
            return &supervisor->workers[i];
        }
    }
    return NULL;
}

/* Starts the successor in the vacant entry, if there is one. */
static void replace_begin(struct supervisor *supervisor, struct worker *worker)
{
    struct worker *fresh = find_vacant(supervisor);
    if (fresh == NULL || worker->spare) { /* spare: it is being killed, and one that serves has its task */
        return; /* there is one vacant entry, so one replacement at a time; replace_ended() tries again */
    }
    fresh->vacant = false;
    fresh->replaces = worker->index;
    fresh->for_grown = worker->grown;
    fresh->failures = 0;
    fresh->spawn_at = clock_now();
    worker->vacant = true; /* its entry becomes the vacant one once it is down */
}

void replace_worker(struct supervisor *supervisor, struct worker *worker, const char *reason)
{
    if (worker->state != WORKER_READY || worker->due || supervisor->phase != PHASE_SERVING) {
        return;
    }
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_REPLACED, WORKER_FACTS(worker), "worker %u, pid %d, is replaced: %s",
              worker->index, (int)worker->pid, reason);
    worker->due = true;
    replace_begin(supervisor, worker);
}

void replace_ready(struct supervisor *supervisor, struct worker *fresh)
{
    if (fresh->replaces == WORKER_NONE) {
        return;
    }
    struct worker *old = &supervisor->workers[fresh->replaces];
    fresh->replaces = WORKER_NONE;
    if (old->due && old->state == WORKER_READY) {
        replace_retire(supervisor, old);
    }
}

static void replace_begin_due(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_READY && worker->due && !worker->vacant) {
            replace_begin(supervisor, worker);
        }
    }
}

void replace_ended(struct supervisor *supervisor, const struct worker *worker)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *fresh = &supervisor->workers[i];
        if (fresh->replaces != worker->index) {
            continue;
        }
        fresh->replaces =
            WORKER_NONE; /* the old worker no longer serves: do not wait REPLACE_AGAIN any more after a failed start */
        if (fresh->state == WORKER_DOWN) {
            fresh->spawn_at = clock_after(clock_now(), worker_restart_delay(fresh->failures));
        }
    }
    replace_begin_due(supervisor);
}

/* A worker that is too large before it has served anything, or whose predecessor was too large as well after its first
 * request, would be replaced again and again. */
static bool is_large_by_nature(const struct worker *worker, uint64_t requests)
{
    return requests <= 1 || (!worker->looked_at && worker->for_grown);
}

void replace_look(struct supervisor *supervisor, struct worker *worker)
{
    uint64_t limit = supervisor->max_rss;
    if (limit == 0 || worker->state != WORKER_READY || worker->due || worker->large) {
        return;
    }
    uint64_t size = statm_read(worker->pid, STATM_RESIDENT);
    uint64_t requests = atomic_load_explicit(&worker->board->requests, memory_order_relaxed);
    bool by_nature = is_large_by_nature(worker, requests);
    worker->looked_at = worker->looked_at || requests > 1; /* not the first request: that may load the model */
    if (size <= limit) {
        return;
    }
    if (!by_nature) {
        char reason[128];
        (void)snprintf(reason, sizeof reason, "its memory, %llu MiB, exceeds %llu MiB (ASYA_MAX_RSS)",
                       (unsigned long long)(size >> 20), (unsigned long long)(limit >> 20));
        worker->grown = true;
        replace_worker(supervisor, worker, reason);
        return;
    }
    worker->large = true;
    if (!supervisor->rss_warned) {
        supervisor->rss_warned = true;
        log_event(LOG_LEVEL_WARNING, EVENT_WORKER_LARGE, WORKER_FACTS(worker),
                  "worker %u, pid %d, has %llu MiB from the beginning, more than ASYA_MAX_RSS (%llu MiB): it is not "
                  "replaced for that, since the next one would be as large",
                  worker->index, (int)worker->pid, (unsigned long long)(size >> 20), (unsigned long long)(limit >> 20));
    }
}

void replace_check(struct supervisor *supervisor)
{
    replace_begin_due(supervisor);
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        replace_look(supervisor, &supervisor->workers[i]);
    }
}
