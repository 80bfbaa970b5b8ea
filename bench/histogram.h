/*
 * Latencies in fixed memory: a logarithmic histogram of nanoseconds.
 *
 * Every power of two is cut into 128 equal buckets, so a value is known to better than 0.8 %, from 1 ns to the end of
 * 64 bits, in 58 KiB. Adding costs no allocation and no search. Pure; not thread-safe (one per thread, then merge).
 */
#ifndef ASYA_BENCH_HISTOGRAM_H
#define ASYA_BENCH_HISTOGRAM_H

#include "base/octave.h"

#include <stdint.h>

enum { HISTOGRAM_BUCKET_BITS = 7, HISTOGRAM_BUCKETS = OCTAVE_BUCKETS(HISTOGRAM_BUCKET_BITS) };

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* All zero is an empty histogram. */
void histogram_add(struct histogram *histogram, uint64_t value);

/* Adds everything that `from` counted. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);

/* The smallest bucket end that `share` (0 to 1) of all values do not exceed, never above max; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
