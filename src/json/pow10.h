/*
 * Powers of ten as 128-bit binary fractions, for both directions of double conversion. The table is made when the image
 * is loaded, in microseconds: carried along it would be a seventh of the file, since it does not compress.
 * tools/gen_pow10.py makes it again in exact arithmetic, for the unit test, and proves the claims below for every
 * entry.
 *
 * 10^k = (high:low + r) * 2^pow10_exponent(k) with 2^127 <= high:low < 2^128 and 0 <= r < 1; r is 0 (the entry is
 * exact) just for 0 <= k <= POW10_EXACT_LAST. So the table is cut off (floor). Who needs it otherwise:
 *  - Eisel-Lemire reading (D. Lemire, "Number parsing at a gigabyte per second"; N. Mushtak, D. Lemire, "Fast number
 *    parsing without fallback"): floor, but floor + 1 for -27 <= k <= -1: pow10_for_reading, k from -342 to 308;
 *  - Schubfach writing (R. Giulietti, "The Schubfach way to render doubles"): the ceiling, which is floor + 1 unless
 *    the entry is exact: pow10_for_writing, k from -292 to 324.
 * Adding one never carries into `high`.
 */
#ifndef ASYA_JSON_POW10_H
#define ASYA_JSON_POW10_H

#include <stdint.h>

enum { POW10_FIRST = -342, POW10_LAST = 324, POW10_EXACT_LAST = 55 };

struct pow10 {
    uint64_t high, low;
};

/* Not to be written to. */
extern struct pow10 pow10_table[POW10_LAST - POW10_FIRST + 1];

/* floor(log2(10^k)) - 127. */
static inline int pow10_exponent(int k) { return ((k * 217706) >> 16) - 127; }

/* POW10_FIRST <= k <= POW10_LAST for all three. */
static inline struct pow10 pow10_floor(int k) { return pow10_table[k - POW10_FIRST]; }

static inline struct pow10 pow10_for_reading(int k)
{
    struct pow10 power = pow10_floor(k);
    power.low += (unsigned)(k + 27) < 27;
    return power;
}

static inline struct pow10 pow10_for_writing(int k)
{
    struct pow10 power = pow10_floor(k);
    power.low += (unsigned)k > POW10_EXACT_LAST;
    return power;
}

#endif
