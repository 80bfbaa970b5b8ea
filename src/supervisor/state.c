#include "supervisor/state.h"

const char *state_function(const struct supervisor *supervisor)
{
    const char *name = supervisor->options->process_module;
    return name[0] != '\0' ? name : "the echo";
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
