#include "histogram.h"

#include <stddef.h>

static const uint64_t PER_OCTAVE = (uint64_t)1 << HISTOGRAM_BUCKET_BITS;

/* The largest value that falls into the bucket. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket < 2 * PER_OCTAVE) {
        return bucket;
    }
    uint64_t shift = (bucket >> HISTOGRAM_BUCKET_BITS) - 1;
    uint64_t step = (bucket & (PER_OCTAVE - 1)) + PER_OCTAVE;
    return (step << shift) + (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum += value;
    histogram->buckets[octave_bucket(value, HISTOGRAM_BUCKET_BITS)]++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

void histogram_merge(struct histogram *histogram, const struct histogram *from)
{
    histogram->count += from->count;
    histogram->sum += from->sum;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram->buckets[i] += from->buckets[i];
    }
    if (from->max > histogram->max) {
        histogram->max = from->max;
    }
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (histogram->buckets[i] > 0 && (double)seen >= wanted) {
            uint64_t end = bucket_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}
