/*
 * Spares (ASYA_SPARES): workers that have loaded the function, and serve once one that serves is missing.
 *
 *   DOWN --spawn--> STARTING --CONTROL_READY--> SPARE --CONTROL_SERVE--> READY
 *
 * Where spares are wanted, every worker that has loaded waits for CONTROL_SERVE: which of them serve is decided here
 * alone, in each round of the loop. The entries are all alike. ASYA_SPARES of them are marked `spare`, and the mark
 * goes to the entry whose worker is missing: the spare keeps its process and its number, and what is loaded next, in
 * the place of the dead one, is the next spare.
 *
 *   missing            it has died, is being killed, or has only begun to load; or it is the successor that a
 *                      replacement waits for (replace.c), as one does whose function is stuck beyond its time limit
 *   who comes          a spare that is loaded, or else one that loads already, if the missing one does not yet
 *   loads a spare      once nobody is missing and nobody retires: it does not slow down the start of a worker that is
 *                      waited for, does not make a crash loop shorter, and there are never more processes than
 *                      ASYA_WORKERS and ASYA_SPARES on its account
 *
 * Not at a lower priority: a process without privileges cannot take back what nice(2) has given away, and it is to
 * serve as any other does.
 */
#include "base/clock.h"
#include "base/log.h"
#include "server/control.h"
#include "supervisor/state.h"

static bool spares_is_dying(const struct worker *worker) { return worker->overran || worker->killed_at != CLOCK_NEVER; }

static bool spares_is_missing(const struct worker *worker)
{
    bool is_there = worker->state == WORKER_READY || worker->state == WORKER_STOPPING;
    return !worker->spare && !worker->vacant && (!is_there || spares_is_dying(worker));
}

static bool spares_can_serve(const struct worker *worker)
{
    return worker->state == WORKER_SPARE && !worker->due && !worker->stopped && !spares_is_dying(worker);
}

/* One that is loaded, or else one that loads. */
static struct worker *spares_find(const struct supervisor *supervisor, bool may_load)
{
    struct worker *found = NULL;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->spare && spares_can_serve(worker)) {
            return worker;
        }
        if (worker->spare && may_load && worker->state == WORKER_STARTING && !worker->due && !worker->timed_out) {
            found = worker;
        }
    }
    return found;
}

bool spares_is_any_loaded(const struct supervisor *supervisor) { return spares_find(supervisor, false) != NULL; }

/* The spare takes over what the missing one was to do, and how often that has failed: so the delays of a crash loop are
 * those that there would be without it, and a spare that could not load before delays no worker. */
static void spares_exchange(struct worker *missing, struct worker *spare)
{
    uint32_t failures = spare->failures;
    spare->failures = missing->failures;
    missing->failures = failures;
    spare->spare = false;
    spare->replaces = missing->replaces;
    spare->for_grown = missing->for_grown;
    missing->spare = true;
    missing->replaces = WORKER_NONE;
    missing->for_grown = false;
}

void spares_serve(struct supervisor *supervisor, struct worker *worker)
{
    worker->state = WORKER_READY;
    supervisor->alone_since = CLOCK_NEVER;
    replace_ready(supervisor, worker);
    replace_look(supervisor, worker);
    if (supervisor->phase == PHASE_STARTING) {
        socket_file_publish(supervisor);
    } else {
        socket_file_show_readiness(supervisor);
    }
}

static void spares_fill(struct supervisor *supervisor, struct worker *missing)
{
    struct worker *worker = missing;
    if (!spares_can_serve(missing)) {
        worker = spares_find(supervisor, missing->state == WORKER_DOWN);
        if (worker == NULL) {
            return;
        }
        log_event(LOG_LEVEL_INFO, EVENT_WORKER_READY, WORKER_FACTS(worker),
                  "worker %u, pid %d, a spare, takes the place of worker %u", worker->index, (int)worker->pid,
                  missing->replaces != WORKER_NONE ? missing->replaces : missing->index);
        spares_exchange(missing, worker);
    }
    if (worker->state == WORKER_SPARE) {
        worker_give(worker, CONTROL_SERVE, -1);
        spares_serve(supervisor, worker);
    }
}

void spares_tend(struct supervisor *supervisor)
{
    if (supervisor->options->spares == 0 || supervisor->phase == PHASE_STOPPING) {
        return;
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_SPARE && worker->due) {
            worker_end(worker);
            worker_give(worker, CONTROL_RETIRE, -1);
        } else if (spares_is_missing(worker)) {
            spares_fill(supervisor, worker);
        }
    }
}

bool spares_may_load(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (spares_is_missing(worker) || worker->state == WORKER_STOPPING) {
            return false;
        }
    }
    return true;
}
