#include "supervisor/state.h"

#include "base/log.h"

const char *state_function(const struct supervisor *supervisor)
{
    const char *name = supervisor->options->process_module;
    return name[0] != '\0' ? name : "the echo";
}

const char *state_kind(const struct supervisor *supervisor, const struct worker *worker)
{
    return worker == supervisor->template ? "template" : "worker";
}

uint32_t state_count(const struct supervisor *supervisor, enum worker_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        count += supervisor->workers[i].state == state;
    }
    return count;
}

bool state_is_serving(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_READY &&
            atomic_load_explicit(&worker->board->full, memory_order_relaxed) != FULL_STARVED) {
            return true;
        }
    }
    return false;
}

void state_tell_worker(const struct supervisor *supervisor, struct worker *worker)
{
    struct scoreboard *board = worker->board;
    atomic_store_explicit(&board->draining, supervisor->is_draining, memory_order_relaxed);
    atomic_store_explicit(&board->level, supervisor->has_new_level ? (uint32_t)log_level() + 1 : 0,
                          memory_order_relaxed);
}

bool state_is_ready(const struct supervisor *supervisor)
{
    return supervisor->phase == PHASE_SERVING && !supervisor->is_draining && !supervisor->unwell &&
           state_is_serving(supervisor);
}

/* Several workers in a row died before they had done anything, or could not even load the function. */
static bool state_is_crashing(const struct supervisor *supervisor)
{
    bool is_crashing = supervisor->deaths > 1;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        is_crashing = is_crashing || supervisor->workers[i].failures > 1;
    }
    return is_crashing;
}

enum condition state_condition(const struct supervisor *supervisor)
{
    if (supervisor->phase == PHASE_STOPPING) {
        return CONDITION_STOPPING;
    }
    if (supervisor->phase == PHASE_STARTING) {
        return CONDITION_LOADING;
    }
    if (!state_is_serving(supervisor)) {
        return state_is_crashing(supervisor) ? CONDITION_CRASHING : CONDITION_LOADING;
    }
    if (supervisor->unwell) {
        return CONDITION_UNWELL;
    }
    return supervisor->is_draining ? CONDITION_DRAINING : CONDITION_READY;
}

bool state_is_on_duty(const struct supervisor *supervisor)
{
    enum condition condition = state_condition(supervisor);
    return condition == CONDITION_READY ||
           (condition == CONDITION_LOADING && supervisor->phase == PHASE_SERVING && !supervisor->is_draining);
}

void state_note_condition(struct supervisor *supervisor, uint64_t now)
{
    enum condition condition = state_condition(supervisor);
    if (condition != supervisor->condition || supervisor->condition_since == 0) {
        supervisor->condition = condition;
        supervisor->condition_since = now;
    }
}
