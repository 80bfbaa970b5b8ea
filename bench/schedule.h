/*
 * The moments at which the requests of an open loop are due: fixed ahead, whether the server keeps up or not.
 *
 * uniform   the same span between any two
 * poisson   spans as between clients that know nothing of each other: the same mean, exponentially distributed. They
 *           follow from the seed alone, so two servers get the same moments
 */
#ifndef ASYA_BENCH_SCHEDULE_H
#define ASYA_BENCH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct schedule {
    double interval_ns; /* the mean */
    bool poisson;
    uint64_t random; /* the generator's state */
    uint64_t began_ns;
    double after_ns; /* the next moment, as a span from the beginning: no fraction of a nanosecond gets lost */
};

/* The first moment is the beginning itself. `rate`: requests a second. */
void schedule_begin(struct schedule *schedule, double rate, bool poisson, uint64_t seed, uint64_t now_ns);

/* The next moment. */
uint64_t schedule_next(const struct schedule *schedule);

/* Goes on to the moment after it. */
void schedule_advance(struct schedule *schedule);

#endif
