/* The function's own health check (python/health.h), as the supervisor sees it on the scoreboards: it has failed, or it
 * takes too long. Then the runtime is not ready, and says so to probes and in the log; messages are served on. */
#include "base/clock.h"
#include "base/log.h"
#include "supervisor/state.h"

#include <stdio.h>

bool health_fails(const struct worker *worker, uint64_t limit, uint64_t now, char text[HEALTH_TEXT_SIZE])
{
    const struct scoreboard *board = worker->board;
    uint64_t since = atomic_load_explicit(&board->health_since, memory_order_relaxed);
    if (since != 0 && since <= now && now - since > limit) {
        (void)snprintf(text, HEALTH_TEXT_SIZE, "has not ended within %llu ms (ASYA_HEALTHCHECK_TIMEOUT)",
                       (unsigned long long)(limit / CLOCK_MS));
        return true;
    }
    if (atomic_load_explicit(&board->health, memory_order_acquire) != CHECKUP_FAILED) {
        return false;
    }
    (void)snprintf(text, HEALTH_TEXT_SIZE, "%.*s", (int)(sizeof board->health_text - 1), board->health_text);
    return true;
}

/* Logs that the health check of a worker fails now, or does not any more. */
static bool health_look(struct worker *worker, uint64_t limit, uint64_t now)
{
    char how[HEALTH_TEXT_SIZE];
    bool fails = worker->state == WORKER_READY && health_fails(worker, limit, now, how);
    if (fails && !worker->unwell) {
        log_event(LOG_LEVEL_ERROR, EVENT_HEALTH_FAILED, WORKER_FACTS(worker),
                  "the health check of worker %u, pid %d, %s: the runtime is not ready", worker->index,
                  (int)worker->pid, how);
    } else if (!fails && worker->unwell && worker->state == WORKER_READY) {
        log_event(LOG_LEVEL_INFO, EVENT_HEALTH_PASSED, WORKER_FACTS(worker),
                  "the health check of worker %u, pid %d, passes again", worker->index, (int)worker->pid);
    }
    worker->unwell = fails;
    return fails;
}

void health_check(struct supervisor *supervisor, uint64_t now)
{
    bool before = supervisor->unwell;
    supervisor->unwell = false;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        bool fails = health_look(&supervisor->workers[i], supervisor->options->healthcheck_timeout, now);
        supervisor->unwell = supervisor->unwell || fails;
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        atomic_store_explicit(&supervisor->workers[i].board->unwell, supervisor->unwell, memory_order_relaxed);
    }
    if (supervisor->unwell != before) {
        socket_file_show_readiness(supervisor);
    }
}
