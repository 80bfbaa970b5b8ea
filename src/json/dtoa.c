/*
 * R. Giulietti, "The Schubfach way to render doubles" (2022), with the three products of the paper made from one: the
 * borders of the rounding interval are half a unit away from the value, so their products are its product minus and
 * plus a shifted power of ten, exact in 192 bits. The digits then leave in registers, eight at a time, and the point is
 * put between them with masks: numbers of an array differ in length, so a branch on it would be mispredicted.
 */
#include "json/dtoa.h"

#include "json/block.h"
#include "json/itoa.h"
#include "json/pow10.h"

#include <stdbool.h>

enum {
    FRACTION_BITS = 52,
    EXPONENT_BIAS = 1075, /* of the significand as an integer */
    FLOAT_FRACTION_BITS = 23,
    FLOAT_EXPONENT_BIAS = 150,
    DIGITS = 17, /* digits a significand is brought to */
    EIGHT_DIGITS = 100000000,
    POINT_FIRST = -3, /* float.__repr__ leaves out the exponent while the point stands here ... */
    POINT_LAST = 16,  /* ... to here, counted from before the first digit */
    POINT_NEAR = 7,   /* up to here the digits are put around it by whole words */
};

#define HIDDEN_BIT       (UINT64_C(1) << FRACTION_BITS)
#define FLOAT_HIDDEN_BIT (UINT64_C(1) << FLOAT_FRACTION_BITS)
#define FULL_DIGITS      UINT64_C(10000000000000000) /* 10^16, the least number of DIGITS digits */
#define NOINLINE         __attribute__((noinline))
#define ALWAYS_INLINE    inline __attribute__((always_inline))

__extension__ typedef unsigned __int128 u128;

/* A number of 192 bits, and what the paper keeps of it: all above the lowest 128 bits, made odd where these say more
 * than the inexact power of ten explains. */
struct product {
    u128 high;
    uint64_t low;
};

static inline struct product multiply(struct pow10 power, uint64_t factor)
{
    u128 low = (u128)power.low * factor;
    return (struct product){(u128)power.high * factor + (uint64_t)(low >> 64), (uint64_t)low};
}

static inline uint64_t round_to_odd(u128 high) { return (uint64_t)(high >> 64) | ((uint64_t)high > 1); }

/* significand * 2^exponent has no fraction and is below 2^53. */
static inline bool is_whole(uint64_t significand, int exponent)
{
    return exponent <= 0 && exponent > -FRACTION_BITS - 1 && (significand & ((UINT64_C(1) << -exponent) - 1)) == 0;
}

/* digits * 10^exponent */
struct decimal {
    uint64_t digits;
    int exponent;
};

/* The value times four and the borders of its rounding interval, scaled by 10^-exponent. */
struct interval {
    uint64_t lower, value, upper;
};

static inline struct interval interval_make(struct pow10 power, uint64_t significand, int shift, bool narrow)
{
    struct product value = multiply(power, significand << (shift + 2));
    int half = shift + 1, quarter = half - narrow; /* below a power of two the next double is only half as far */
    uint64_t half_low = power.low << half;
    u128 half_high = ((u128)power.high << half) | power.low >> (64 - half);
    uint64_t lower_low = power.low << quarter;
    u128 lower_high = ((u128)power.high << quarter) | power.low >> (64 - quarter);
    uint64_t ignored;
    u128 upper = value.high + half_high + __builtin_add_overflow(value.low, half_low, &ignored);
    u128 lower = value.high - lower_high - __builtin_sub_overflow(value.low, lower_low, &ignored);
    return (struct interval){round_to_odd(lower), round_to_odd(value.high), round_to_odd(upper)};
}

/* significand * 2^exponent as the shortest decimal; its digits may end in zeros. */
static NOINLINE struct decimal shortest(uint64_t significand, int exponent, bool narrow)
{
    int k = (int)(((int64_t)exponent * 1262611 - (narrow ? 524031 : 0)) >> 22); /* floor(log10(2^exponent)) */
    struct pow10 power = pow10_for_writing(-k);
    int shift = exponent + pow10_exponent(-k) + 128; /* 1 to 4 */
    struct interval at = interval_make(power, significand, shift, narrow);
    uint64_t odd = significand & 1; /* the borders themselves read back as the value if that is even */
    uint64_t lower = at.lower + odd, upper = at.upper - odd;

    /* One digit less, if one of the two neighbours with one digit less lies inside (never both: the interval is
     * narrower than ten units); else the neighbour that is inside; of two, or none, the nearer one, of two as near the
     * even one. Which it is differs from number to number, so no branches. */
    uint64_t unit = at.value / 4, ten = unit / 10 * 10;
    bool ten_down = lower <= 4 * ten, ten_up = 4 * ten + 40 <= upper;
    bool down = lower <= 4 * unit, up = 4 * unit + 4 <= upper;
    bool nearer_up = (at.value & 3) + (unit & 1) > 2;
    uint64_t full = unit + (down != up ? up : nearer_up), shorter = ten + (ten_up ? 10 : 0);
    return (struct decimal){ten_down != ten_up && unit >= 10 ? shorter : full, k};
}

/* The same, for nearly all numbers, from the value alone, in fixed point: one unit is at most one unit in the last
 * place of the double, which is less than ten units. So the integer nearest to the value always reads back as it, and
 * one digit less does if the nearest multiple of ten lies within half a unit in the last place. False where that or a
 * tie is so near that the bits below these decide. */
static inline bool shortest_clear(uint64_t significand, int exponent, struct decimal *ret_decimal)
{
    int k = (exponent * 315653) >> 20;    /* floor(log10(2^exponent)) */
    struct pow10 power = pow10_floor(-k); /* what it lacks to pow10_for_writing is far less than the margin below */
    int shift = exponent + pow10_exponent(-k) + 128; /* 1 to 4 */
    u128 value = multiply(power, significand << shift).high;
    uint64_t unit = (uint64_t)(value >> 64), fraction = (uint64_t)value, ten = unit / 10 * 10;
    uint64_t rest = (unit - ten) << 60 | fraction >> 4; /* above the multiple of ten, 4 bits before the point */
    uint64_t half = power.high >> (5 - shift);
    /* masks, since compilers make branches of choices here, and which way they go is anybody's guess */
    uint64_t up = 0 - (uint64_t)(rest > UINT64_C(5) << 60), all = UINT64_C(10) << 60;
    uint64_t away = ((rest - (all & up)) ^ up) - up; /* from the nearest multiple of ten */
    if (__builtin_expect((away - half + 8 <= 16) | (fraction - (UINT64_C(1) << 63) + 8 <= 16), 0)) {
        return false;
    }
    uint64_t inside = 0 - (uint64_t)(away < half);
    uint64_t full = unit + (fraction >> 63), shorter = ten + (up & 10);
    *ret_decimal = (struct decimal){full ^ ((full ^ shorter) & inside), k};
    return true;
}

/* DIGITS digits: the first as its value, the rest as text, of which `middle` has the first eight as a word. */
struct digits {
    uint64_t first, middle;
#ifdef BLOCK_SSE2
    __m128i rest;
#else
    uint64_t last;
#endif
    int count; /* without zeros at the end, at least 1 */
};

#ifdef BLOCK_SSE2

static inline void sixteen_digits(uint32_t middle, uint32_t last, struct digits *ret_digits)
{
    __m128i lanes = _mm_unpacklo_epi64(_mm_cvtsi32_si128((int)middle), _mm_cvtsi32_si128((int)last));
    __m128i high = _mm_srli_epi64(_mm_mul_epu32(lanes, _mm_set1_epi32((int)0xD1B71759)), 45); /* 1/10000 */
    __m128i low = _mm_sub_epi32(lanes, _mm_mul_epu32(high, _mm_set1_epi32(10000)));
    lanes = _mm_or_si128(high, _mm_slli_epi64(low, 32));
    high = _mm_srli_epi16(_mm_mulhi_epu16(lanes, _mm_set1_epi16(5243)), 3); /* 1/100 */
    low = _mm_sub_epi32(lanes, _mm_madd_epi16(high, _mm_set1_epi32(100)));
    lanes = _mm_or_si128(high, _mm_slli_epi32(low, 16));
    high = _mm_mulhi_epu16(lanes, _mm_set1_epi16(6554)); /* 1/10 */
    /* high | (lanes - 10 * high) << 8 */
    lanes = _mm_sub_epi16(_mm_slli_epi16(lanes, 8), _mm_mullo_epi16(high, _mm_set1_epi16(10 * 256 - 1)));
    unsigned zeros = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(lanes, _mm_setzero_si128()));
    ret_digits->rest = _mm_or_si128(lanes, _mm_set1_epi8('0'));
    ret_digits->middle = (uint64_t)_mm_cvtsi128_si64(ret_digits->rest);
    ret_digits->count = 32 - __builtin_clz((zeros ^ 0xFFFF) << 1 | 1);
}

/* The sixteen digits behind the first. */
static inline void write_sixteen(unsigned char *out, const struct digits *digits)
{
    _mm_storeu_si128((__m128i *)(void *)out, digits->rest);
}

#else

static inline void sixteen_digits(uint32_t middle, uint32_t last, struct digits *ret_digits)
{
    ret_digits->middle = itoa_eight(middle);
    ret_digits->last = itoa_eight(last);
    uint64_t is_short = 0 - (uint64_t)(ret_digits->last == 0);
    uint64_t word = ret_digits->last | (ret_digits->middle & is_short);
    ret_digits->count = DIGITS - (int)(is_short & 8) - (__builtin_clzll(word | 1) >> 3) - (word == 0);
    ret_digits->middle |= ITOA_ZEROS;
    ret_digits->last |= ITOA_ZEROS;
}

static inline void write_sixteen(unsigned char *out, const struct digits *digits)
{
    itoa_store(out, digits->middle);
    itoa_store(out + 8, digits->last);
}

#endif

static inline struct digits dtoa_digits_of(uint64_t significand)
{
    uint32_t top = (uint32_t)(significand / EIGHT_DIGITS);
    uint32_t first = top / EIGHT_DIGITS;
    struct digits digits = {.first = first};
    sixteen_digits(top - first * EIGHT_DIGITS, (uint32_t)(significand % EIGHT_DIGITS), &digits);
    return digits;
}

/* "123.456" or "120.0": 1 to 7 digits stand before the point. All go where those behind it belong, then those before it
 * and the point over them. */
static inline unsigned char *write_fixed(unsigned char *out, const struct digits *digits, int point)
{
    static const uint64_t before[] = {0,          0xFF,         0xFFFF,         0xFFFFFF,
                                      0xFFFFFFFF, 0xFFFFFFFFFF, 0xFFFFFFFFFFFF, 0xFFFFFFFFFFFFFF};
    uint64_t word = (digits->first | '0') | digits->middle << 8, kept = word & before[point];
    write_sixteen(out + 2, digits);
    itoa_store(out, kept | (word ^ kept) << 8);
    out[point] = '.';
    return out + (digits->count > point ? digits->count : point + 1) + 1;
}

/* "0.00123": POINT_FIRST <= point <= 0. */
static inline unsigned char *write_small(unsigned char *out, const struct digits *digits, int point)
{
    itoa_store(out, UINT64_C(0x3030303030302E30));
    out += 2 - point;
    out[0] = (unsigned char)('0' + digits->first);
    write_sixteen(out + 1, digits);
    return out + digits->count;
}

/* "1e-05", "1.5e+16" */
static unsigned char *write_exponent(unsigned char *out, const struct digits *digits, int point)
{
    out[0] = (unsigned char)('0' + digits->first);
    out[1] = '.';
    write_sixteen(out + 2, digits);
    out += digits->count > 1 ? digits->count + 1 : 1;
    *out++ = 'e';
    *out++ = point > 0 ? '+' : '-';
    uint32_t exponent = (uint32_t)(point > 0 ? point - 1 : 1 - point);
    *out = '0';
    return itoa_short(out + (exponent < 10), exponent);
}

/* Where the point is far from the first digit. */
static NOINLINE unsigned char *write_far(unsigned char *out, uint64_t significand, int point)
{
    struct digits digits = dtoa_digits_of(significand);
    if (point < POINT_FIRST || point > POINT_LAST) {
        return write_exponent(out, &digits, point);
    }
    out[0] = (unsigned char)('0' + digits.first);
    write_sixteen(out + 1, &digits);
    memmove(out + point + 1, out + point, (size_t)(DIGITS - point));
    out[point] = '.';
    return out + (digits.count > point ? digits.count : point + 1) + 1;
}

/* digits * 10^exponent with at most DIGITS digits, and at least one less unless the number is subnormal. */
static ALWAYS_INLINE unsigned char *write_decimal(unsigned char *out, struct decimal decimal)
{
    bool lacks_one = decimal.digits < FULL_DIGITS;
    decimal.digits += (0 - (uint64_t)lacks_one) & (decimal.digits * 9);
    int point = decimal.exponent + DIGITS - lacks_one;
    if (__builtin_expect(point < POINT_FIRST || point > POINT_NEAR, 0)) {
        return write_far(out, decimal.digits, point);
    }
    struct digits digits = dtoa_digits_of(decimal.digits);
    return point > 0 ? write_fixed(out, &digits, point) : write_small(out, &digits, point);
}

/* Positive numbers that shortest_clear does not decide, or that are whole, zero, or subnormal. */
static unsigned char *write_rare(unsigned char *out, uint64_t significand, int exponent, bool narrow)
{
    if (significand == 0) {
        memcpy(out, "0.0", 3);
        return out + 3;
    }
    if (is_whole(significand, exponent)) {
        out = itoa_u64(out, significand >> -exponent); /* below 2^53, so no exponent is due */
        memcpy(out, ".0", 2);
        return out + 2;
    }
    struct decimal decimal = shortest(significand, exponent, narrow);
    while (decimal.digits < FULL_DIGITS / 10) {
        decimal.digits *= 10;
        decimal.exponent--;
    }
    return write_decimal(out, decimal);
}

/* What the next two cannot do at once. These begin anew from the value, so that the common way keeps nothing for them.
 */
static NOINLINE unsigned char *write_rare_double(unsigned char *out, double value)
{
    uint64_t bits, fraction;
    memcpy(&bits, &value, sizeof bits);
    int biased = (int)(bits >> FRACTION_BITS & 0x7FF);
    fraction = bits & (HIDDEN_BIT - 1);
    return biased > 0 ? write_rare(out, fraction | HIDDEN_BIT, biased - EXPONENT_BIAS, fraction == 0 && biased > 1)
                      : write_rare(out, fraction, 1 - EXPONENT_BIAS, false);
}

static NOINLINE unsigned char *write_rare_float(unsigned char *out, float value)
{
    uint32_t bits, fraction;
    memcpy(&bits, &value, sizeof bits);
    int biased = (int)(bits >> FLOAT_FRACTION_BITS & 0xFF);
    fraction = bits & (FLOAT_HIDDEN_BIT - 1);
    return biased > 0
               ? write_rare(out, fraction | FLOAT_HIDDEN_BIT, biased - FLOAT_EXPONENT_BIAS, fraction == 0 && biased > 1)
               : write_rare(out, fraction, 1 - FLOAT_EXPONENT_BIAS, false);
}

unsigned char *dtoa(unsigned char *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    *out = '-';
    out += bits >> 63;
    int biased = (int)(bits >> FRACTION_BITS & 0x7FF), exponent = biased - EXPONENT_BIAS;
    uint64_t fraction = bits & (HIDDEN_BIT - 1);
    struct decimal decimal;
    if (biased == 0 || fraction == 0 || !shortest_clear(fraction | HIDDEN_BIT, exponent, &decimal)) {
        return write_rare_double(out, value);
    }
    return write_decimal(out, decimal);
}

unsigned char *dtoa_float(unsigned char *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    *out = '-';
    out += bits >> 31;
    int biased = (int)(bits >> FLOAT_FRACTION_BITS & 0xFF), exponent = biased - FLOAT_EXPONENT_BIAS;
    uint64_t fraction = bits & (FLOAT_HIDDEN_BIT - 1);
    struct decimal decimal;
    if (biased == 0 || fraction == 0 || !shortest_clear(fraction | FLOAT_HIDDEN_BIT, exponent, &decimal)) {
        return write_rare_float(out, value);
    }
    bool has_seven = decimal.digits < 10 * EIGHT_DIGITS / 100; /* it has seven to nine digits: 2^23 to 10 * 2^24 */
    decimal.digits *= has_seven ? 10 * (uint64_t)EIGHT_DIGITS : EIGHT_DIGITS;
    decimal.exponent -= 8 + has_seven;
    return write_decimal(out, decimal);
}
