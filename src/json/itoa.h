/*
 * Integers as decimal text, two table-free multiplications for eight digits. Pure, no allocation.
 *
 * All write at `out` without a NUL and return the place behind the last digit. They may scribble over bytes behind that
 * place, but not over more than the ITOA_SIZE bytes they ask for.
 */
#ifndef ASYA_JSON_ITOA_H
#define ASYA_JSON_ITOA_H

#include <stdint.h>
#include <string.h>

enum { ITOA_SIZE = 32 }; /* bytes that must be writable at `out`; at most 20 of them are text */

#define ITOA_ZEROS UINT64_C(0x3030303030303030)

/* The digit values of `n` < 10^8, the first digit in the lowest byte: in lanes of 32 bits four digits each, then of 16
 * bits two, then one. 10486/2^20 and 103/2^10 stand for 1/100 and 1/10, and are exact for what a lane can hold. */
static inline uint64_t itoa_eight(uint32_t n)
{
    uint32_t high = n / 10000;
    uint64_t lanes = high | (uint64_t)(n - high * 10000) << 32;
    uint64_t hundreds = ((lanes * 10486) >> 20) & 0x0000007F0000007F;
    lanes = hundreds | (lanes - hundreds * 100) << 16;
    uint64_t tens = ((lanes * 103) >> 10) & 0x000F000F000F000F;
    return tens | (lanes - tens * 10) << 8;
}

/* Writes eight bytes, the lowest first. */
static inline void itoa_store(unsigned char *out, uint64_t bytes)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    memcpy(out, &bytes, sizeof bytes);
}

/* The three digits of each number below 1000 as text, the first lowest, and above them 8 for each leading zero. Most
 * integers are this short: a third of the instructions. Made when the image is loaded. Not to be written to. */
extern uint32_t itoa_threes[1000];

/* `n` < 10^8, without leading zeros, and without a branch on its length where that is more than three. */
static inline unsigned char *itoa_short(unsigned char *out, uint32_t n)
{
    if (n < 1000) {
        unsigned zeros = itoa_threes[n] >> 24;
        uint32_t text = itoa_threes[n] >> zeros;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        text = __builtin_bswap32(text);
#endif
        memcpy(out, &text, sizeof text);
        return out + 3 - zeros / 8;
    }
    uint64_t digits = itoa_eight(n);
    unsigned zeros = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) >> 3; /* "0" keeps its last digit */
    itoa_store(out, (digits | ITOA_ZEROS) >> (8 * zeros));
    return out + 8 - zeros;
}

/* `n` >= 10^8. */
unsigned char *itoa_long(unsigned char *out, uint64_t n);

static inline unsigned char *itoa_u64(unsigned char *out, uint64_t n)
{
    return __builtin_expect(n < 100000000, 1) ? itoa_short(out, (uint32_t)n) : itoa_long(out, n);
}

static inline unsigned char *itoa_i64(unsigned char *out, int64_t n)
{
    *out = '-';
    out += n < 0;
    return itoa_u64(out, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

#endif
