/* Time for deadlines: CLOCK_MONOTONIC, so that setting the clock has no effect. */
#ifndef ASYA_BASE_CLOCK_H
#define ASYA_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_SECOND UINT64_C(1000000000)
#define CLOCK_MS     UINT64_C(1000000)

/* A deadline that never comes. */
#define CLOCK_NEVER UINT64_MAX

/* Nanoseconds since an arbitrary start; never goes back, and stands still while the machine is suspended. */
uint64_t clock_now(void);

/* `now + span`, or CLOCK_NEVER where that overflows or `span` is CLOCK_NEVER. */
static inline uint64_t clock_after(uint64_t now, uint64_t span)
{
    uint64_t deadline;
    return __builtin_add_overflow(now, span, &deadline) ? CLOCK_NEVER : deadline;
}

/* The earlier of two deadlines. */
static inline uint64_t clock_earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Milliseconds until `deadline` for epoll_wait: rounded up, at most a minute, 0 if it has passed, -1 for CLOCK_NEVER.
 */
int clock_timeout(uint64_t now, uint64_t deadline);

#endif
