#include "base/clock.h"

#include <time.h>

uint64_t clock_now(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return 0; /* cannot fail with this clock */
    }
    return (uint64_t)now.tv_sec * CLOCK_SECOND + (uint64_t)now.tv_nsec;
}

int clock_timeout(uint64_t now, uint64_t deadline)
{
    if (deadline == CLOCK_NEVER) {
        return -1;
    }
    if (deadline <= now) {
        return 0;
    }
    uint64_t ms = (deadline - now - 1) / CLOCK_MS + 1;
    return ms > 60000 ? 60000 : (int)ms;
}
