/*
 * The reader of numbers, inline: its one caller reads millions of them, and a call for each would cost a tenth of the
 * time of decoding an array of numbers. Pure.
 */
#ifndef ASYA_JSON_NUMBER_INLINE_H
#define ASYA_JSON_NUMBER_INLINE_H

#include "json/block.h"
#include "json/number.h"

#include <stdbool.h>
#include <string.h>

enum { NUMBER_DIGITS_SAFE = 19 /* as many decimal digits always fit into 64 bits */ };

/* Where the parts of a number stand in the text. */
struct number_parts {
    const unsigned char *digits, *digits_end;     /* before the point */
    const unsigned char *fraction, *fraction_end; /* behind it; empty if there is none */
    int64_t exponent;                             /* as written */
    uint64_t value;                               /* all digits as one integer, modulo 2^64 */
    bool negative;
};

/* The bits of the double nearest to w * 10^q (w > 0), ties to even, by Eisel-Lemire: never undecided for a w that is
 * exact (Mushtak and Lemire). */
uint64_t number_scale(uint64_t w, int64_t q);

/* The double of a number with more than 19 digits, its sign aside; false if undecided. */
bool number_long(const struct number_parts *parts, double *ret_real);

static inline bool number_is_digit(unsigned char byte) { return (unsigned char)(byte - '0') < 10; }

/* Eight digit values, the first in the lowest byte, as one number (D. Lemire, "Quickly parsing eight digits"). */
static inline uint32_t number_eight_digits(uint64_t values)
{
    values = values * 10 + (values >> 8);
    return (uint32_t)(((values & 0x000000FF000000FF) * 0x000F424000000064 +
                       ((values >> 16) & 0x000000FF000000FF) * 0x0000271000000001) >>
                      32);
}

/* Appends the digits from `at` on to `*value`, modulo 2^64. Eight bytes at a time, and no branch on how many of the
 * last eight are digits: lengths that change from number to number would be mispredicted every time. */
static inline const unsigned char *number_take_digits(const unsigned char *at, const unsigned char *end,
                                                      uint64_t *value)
{
    static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    while (__builtin_expect(end - at >= 8, 1)) {
        uint64_t values = block_word(at) ^ 0x3030303030303030;
        uint64_t others = (((values & 0x7F7F7F7F7F7F7F7F) + 0x7676767676767676) | values) & 0x8080808080808080;
        if (others != 0) {
            unsigned count = (unsigned)__builtin_ctzll(others) >> 3;
            *value = *value * powers[count] + number_eight_digits(values << (56 - 8 * count) << 8);
            return at + count;
        }
        *value = *value * 100000000 + number_eight_digits(values);
        at += 8;
    }
    for (; at < end && number_is_digit(*at); at++) {
        *value = *value * 10 + (unsigned char)(*at - '0');
    }
    return at;
}

static inline double number_from_bits(uint64_t bits)
{
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static inline uint64_t number_bits_of(double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

/* w * 10^q, w exact. */
static inline double number_scaled(uint64_t w, int64_t q)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    /* Both exact in a double: one rounding (Clinger). Up to 2^53 would do, but 15 digits or less as the limit make the
     * branch predictable: the shortest texts of random doubles have 16 or 17. */
    if (w >> 50 == 0 && q >= -22 && q <= 22) {
        return q < 0 ? (double)w / powers[-q] : (double)w * powers[q];
    }
    return w == 0 ? 0.0 : number_from_bits(number_scale(w, q));
}

static inline const unsigned char *number_parse_exponent(const unsigned char *at, const unsigned char *end,
                                                         int64_t *ret_exponent)
{
    bool negative = false;
    if (at < end && (*at == '+' || *at == '-')) {
        negative = *at == '-';
        at++;
    }
    int64_t exponent = 0;
    for (; at < end && number_is_digit(*at); at++) {
        if (exponent < (int64_t)1 << 56) { /* far outside of what a text of any size could bring back into range */
            exponent = exponent * 10 + (*at - '0');
        }
    }
    *ret_exponent = negative ? -exponent : exponent;
    return at;
}

/* The next two write `ret_number` field by field: a struct that is put together and then copied costs more, by stalled
 * loads, than all the arithmetic (18 instead of 8 ns a number with gcc 12). */
static inline void number_integer(const struct number_parts *parts, struct number *ret_number)
{
    uint64_t value = parts->value;
    ptrdiff_t count = parts->digits_end - parts->digits;
    if (__builtin_expect(count <= NUMBER_DIGITS_SAFE && value <= INT64_MAX, 1)) {
        uint64_t sign = 0 - (uint64_t)parts->negative; /* without a branch: signs are hard to predict */
        ret_number->kind = NUMBER_SIGNED;
        ret_number->natural = (value ^ sign) - sign;
    } else if (count <= NUMBER_DIGITS_SAFE && parts->negative && value == (uint64_t)INT64_MAX + 1) {
        ret_number->kind = NUMBER_SIGNED;
        ret_number->integer = INT64_MIN;
    } else {
        /* 20 digits starting with 1 wrap at most once around 2^64, and then end up below 10^19. */
        bool fits = count <= NUMBER_DIGITS_SAFE ||
                    (count == NUMBER_DIGITS_SAFE + 1 && *parts->digits == '1' && value >= 10000000000000000000u);
        ret_number->kind = fits && !parts->negative ? NUMBER_UNSIGNED : NUMBER_BIG;
        ret_number->natural = value;
    }
}

static inline void number_double(const struct number_parts *parts, struct number *ret_number)
{
    ptrdiff_t places = parts->fraction_end - parts->fraction;
    double real;
    ret_number->kind = NUMBER_DOUBLE;
    if (__builtin_expect(parts->digits_end - parts->digits + places <= NUMBER_DIGITS_SAFE, 1)) {
        real = number_scaled(parts->value, parts->exponent - places);
    } else {
        struct number_parts copy = *parts; /* so that the parts of other numbers can stay in registers */
        if (!number_long(&copy, &real)) {
            ret_number->kind = NUMBER_UNDECIDED;
            return;
        }
    }
    ret_number->natural = number_bits_of(real) | (uint64_t)parts->negative << 63; /* without a branch, as above */
}

/* Splits a number into its parts. The end, or NULL with `*ret_culprit` set. */
__attribute__((always_inline)) static inline const unsigned char *number_split(const unsigned char *at,
                                                                               const unsigned char *end,
                                                                               struct number_parts *parts,
                                                                               const unsigned char **ret_culprit)
{
    parts->negative = at < end && *at == '-';
    at += parts->negative;
    parts->digits = at;
    *ret_culprit = at;
    if (at == end || !number_is_digit(*at)) {
        return NULL;
    }
    parts->value = 0;
    at = *at == '0' ? at + 1 : number_take_digits(at, end, &parts->value);
    parts->digits_end = parts->fraction = parts->fraction_end = at;
    parts->exponent = 0;
    if (at < end && *at == '.') {
        parts->fraction = at + 1;
        *ret_culprit = parts->fraction_end = at = number_take_digits(at + 1, end, &parts->value);
        if (at == parts->fraction) {
            return NULL;
        }
    }
    if (at < end && (*at | 0x20) == 'e') {
        *ret_culprit = at = number_parse_exponent(at + 1, end, &parts->exponent);
        if (!number_is_digit(at[-1])) {
            return NULL;
        }
    }
    return at;
}

/* Reads the number that starts at `at`; nothing at or behind `end` is read. Returns the place behind it; with
 * NUMBER_BAD that of the byte that does not fit, or `end`. */
static inline const unsigned char *number_parse(const unsigned char *at, const unsigned char *end,
                                                struct number *ret_number)
{
    struct number_parts parts;
    const unsigned char *culprit;
    at = number_split(at, end, &parts, &culprit);
    if (at == NULL) {
        ret_number->kind = NUMBER_BAD;
        return culprit;
    }
    if (at == parts.digits_end) {
        number_integer(&parts, ret_number);
    } else {
        number_double(&parts, ret_number);
    }
    return at;
}

#endif
