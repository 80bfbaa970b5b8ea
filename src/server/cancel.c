#include "server/cancel.h"

#include "base/clock.h"

void cancel_timeout_error(struct error *err, uint64_t limit)
{
    error_set_processing(
        err, "HandlerTimeout", "the function did not finish within %llu.%03llu s (ASYA_HANDLER_TIMEOUT)",
        (unsigned long long)(limit / CLOCK_SECOND), (unsigned long long)(limit % CLOCK_SECOND / CLOCK_MS));
}

void cancel_late_error(struct error *err, uint64_t limit, bool is_callers)
{
    if (is_callers) {
        error_set_processing(err, "HandlerTimeout",
                             "the function did not finish before the caller's deadline (status.deadline_at)");
    } else {
        cancel_timeout_error(err, limit);
    }
}

void cancel_expired_error(struct error *err)
{
    error_set_processing(
        err, "HandlerTimeout",
        "the caller's deadline (status.deadline_at) had passed when the message came; the function was "
        "not called");
}

void cancel_stopping_error(struct error *err)
{
    error_set(err, ERR_SERVER, 0, "the runtime is shutting down and this request did not finish in time");
}
