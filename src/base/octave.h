/* Histograms of latencies: every power of two is cut into 2^bits equal buckets, so no value needs a search. */
#ifndef ASYA_BASE_OCTAVE_H
#define ASYA_BASE_OCTAVE_H

#include <stddef.h>
#include <stdint.h>

/* How many buckets all of 64 bits need. */
#define OCTAVE_BUCKETS(bits) ((64 - (bits) + 1) << (bits))

/* The bucket of a value. Below 2^bits each value has its own. */
static inline size_t octave_bucket(uint64_t value, unsigned bits)
{
    if (value >> bits == 0) {
        return (size_t)value;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - bits;
    return ((size_t)shift << bits) + (size_t)(value >> shift);
}

#endif
