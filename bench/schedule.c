#include "schedule.h"

#include <math.h>

/* splitmix64 (Steele, Lea, Flood 2014): any seed is as good as any other. */
static uint64_t random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

void schedule_begin(struct schedule *schedule, double rate, bool poisson, uint64_t seed, uint64_t now_ns)
{
    *schedule = (struct schedule){
        .interval_ns = 1e9 / rate,
        .poisson = poisson,
        .random = seed,
        .began_ns = now_ns,
    };
}

uint64_t schedule_next(const struct schedule *schedule) { return schedule->began_ns + (uint64_t)schedule->after_ns; }

void schedule_advance(struct schedule *schedule)
{
    double spans = 1;
    if (schedule->poisson) {
        double chance = (double)((random_next(&schedule->random) >> 11) + 1) * 0x1p-53; /* above 0, at most 1 */
        spans = -log(chance);
    }
    schedule->after_ns += spans * schedule->interval_ns;
}
