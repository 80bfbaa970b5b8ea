#include "json/number.h"

#include "json/pow10.h"

#include <stdbool.h>
#include <string.h>

enum {
    DIGITS_SAFE = 19,   /* as many decimal digits always fit into 64 bits */
    FRACTION_BITS = 52, /* of a double, without the hidden one */
    EXPONENT_INFINITE = 0x7FF,
};

/* An exponent in the text stops growing here: far outside of what a text of any size could bring back into range. */
static const int64_t exponent_clamp = (int64_t)1 << 60;

/* Where the parts of a number stand in the text. */
struct parts {
    const unsigned char *digits, *digits_end;     /* before the point */
    const unsigned char *fraction, *fraction_end; /* behind it; empty if there is none */
    int64_t exponent;                             /* as written */
    uint64_t value;                               /* all digits as one integer, modulo 2^64 */
    bool negative;
};

static inline bool is_digit(unsigned char byte) { return (unsigned char)(byte - '0') < 10; }

static inline uint64_t load64(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Eight digit values, the first in the lowest byte, as one number (D. Lemire, "Quickly parsing eight digits"). */
static inline uint32_t eight_digits(uint64_t values)
{
    values = values * 10 + (values >> 8);
    return (uint32_t)(((values & 0x000000FF000000FF) * 0x000F424000000064 +
                       ((values >> 16) & 0x000000FF000000FF) * 0x0000271000000001) >>
                      32);
}

/* Appends the digits from `at` on to `*value`, modulo 2^64. Eight bytes at a time, and no branch on how many of the
 * last eight are digits: lengths that change from number to number would be mispredicted every time. */
static inline const unsigned char *take_digits(const unsigned char *at, const unsigned char *end, uint64_t *value)
{
    static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    while (__builtin_expect(end - at >= 8, 1)) {
        uint64_t values = load64(at) ^ 0x3030303030303030;
        uint64_t others = (((values & 0x7F7F7F7F7F7F7F7F) + 0x7676767676767676) | values) & 0x8080808080808080;
        if (others != 0) {
            unsigned count = (unsigned)__builtin_ctzll(others) >> 3;
            *value = *value * powers[count] + eight_digits(values << (56 - 8 * count) << 8);
            return at + count;
        }
        *value = *value * 100000000 + eight_digits(values);
        at += 8;
    }
    for (; at < end && is_digit(*at); at++) {
        *value = *value * 10 + (unsigned char)(*at - '0');
    }
    return at;
}

static inline double from_bits(uint64_t bits)
{
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static inline uint64_t bits_of(double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

static uint64_t infinite_bits(void) { return (uint64_t)EXPONENT_INFINITE << FRACTION_BITS; }

/* The bits of the double nearest to w * 10^q (w > 0), ties to even: never undecided for a w of at most 19 digits that
 * is exact (Mushtak and Lemire). */
static uint64_t eisel_lemire(uint64_t w, int64_t q)
{
    if (q < POW10_FIRST) {
        return 0;
    }
    if (q > 308) {
        return infinite_bits();
    }
    int zeros = __builtin_clzll(w);
    w <<= zeros;
    struct pow10 power = pow10_for_reading((int)q);
    unsigned __int128 product = (unsigned __int128)w * power.high;
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if (__builtin_expect((high & 0x1FF) == 0x1FF, 0)) {
        uint64_t carry = (uint64_t)(((unsigned __int128)w * power.low) >> 64);
        low += carry;
        high += low < carry;
    }
    int top = (int)(high >> 63);
    int shift = top + 64 - FRACTION_BITS - 3;
    uint64_t mantissa = high >> shift; /* 54 bits: hidden bit, fraction, rounding bit */
    int exponent = (int)((217706 * q) >> 16) + 63 + top - zeros + 1023;
    if (__builtin_expect(exponent <= 0, 0)) {
        if (1 - exponent >= 64) {
            return 0;
        }
        mantissa >>= 1 - exponent;
        mantissa += mantissa & 1;
        return mantissa >> 1; /* a carry into bit 52 makes it the smallest normal number, as it should */
    }
    if (low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 && mantissa << shift == high) {
        mantissa &= ~(uint64_t)1; /* exactly half way, and even below */
    }
    mantissa += mantissa & 1;
    mantissa >>= 1;
    if (mantissa >> (FRACTION_BITS + 1)) {
        mantissa >>= 1;
        exponent++;
    }
    if (exponent >= EXPONENT_INFINITE) {
        return infinite_bits();
    }
    return (uint64_t)exponent << FRACTION_BITS | (mantissa & (((uint64_t)1 << FRACTION_BITS) - 1));
}

/* w * 10^q, w exact. */
static inline double scaled(uint64_t w, int64_t q)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    /* Both exact in a double: one rounding (Clinger). Up to 2^53 would do, but 15 digits or less as the limit make the
     * branch predictable: the shortest texts of random doubles have 16 or 17. */
    if (w >> 50 == 0 && q >= -22 && q <= 22) {
        return q < 0 ? (double)w / powers[-q] : (double)w * powers[q];
    }
    return w == 0 ? 0.0 : from_bits(eisel_lemire(w, q));
}

/* Significant digits one after the other, across the point and without leading zeros. */
struct digits {
    const unsigned char *at;
    const struct parts *parts;
};

static struct digits digits_of(const struct parts *parts)
{
    struct digits digits = {parts->digits, parts};
    if (*digits.at == '0') { /* then it is the only one before the point */
        digits.at = parts->fraction;
        while (digits.at < parts->fraction_end && *digits.at == '0') {
            digits.at++;
        }
    }
    return digits;
}

/* The next digit, or -1 at the end. */
static int digits_next(struct digits *digits)
{
    if (digits->at == digits->parts->digits_end) {
        digits->at = digits->parts->fraction;
    }
    if (digits->at == digits->parts->fraction_end) {
        return -1;
    }
    return *digits->at++ - '0';
}

/* The power of ten of the digit that digits_next would give. */
static int64_t digits_position(const struct digits *digits)
{
    const struct parts *parts = digits->parts;
    if (digits->at >= parts->digits && digits->at < parts->digits_end) {
        return parts->digits_end - digits->at - 1;
    }
    const unsigned char *at = digits->at == parts->digits_end ? parts->fraction : digits->at;
    return -(at - parts->fraction) - 1;
}

/* More than 19 digits: take 19, and be content if one unit more in the last gives the same double. */
__attribute__((noinline)) static bool long_double(const struct parts *parts, double *ret_real)
{
    struct digits digits = digits_of(parts);
    uint64_t w = 0;
    int digit = 0, taken = 0;
    while (taken < DIGITS_SAFE && (digit = digits_next(&digits)) >= 0) {
        w = w * 10 + (unsigned)digit;
        taken++;
    }
    int64_t q = parts->exponent + digits_position(&digits) + 1;
    while (digit >= 0 && (digit = digits_next(&digits)) == 0) {
    }
    double real = scaled(w, q);
    if (digit > 0 && real != scaled(w + 1, q)) {
        return false;
    }
    *ret_real = real;
    return true;
}

static inline const unsigned char *parse_exponent(const unsigned char *at, const unsigned char *end,
                                                  int64_t *ret_exponent)
{
    bool negative = false;
    if (at < end && (*at == '+' || *at == '-')) {
        negative = *at == '-';
        at++;
    }
    int64_t exponent = 0;
    for (; at < end && is_digit(*at); at++) {
        if (exponent < exponent_clamp / 16) {
            exponent = exponent * 10 + (*at - '0');
        }
    }
    *ret_exponent = negative ? -exponent : exponent;
    return at;
}

/* The next two write `ret_number` field by field: a struct that is put together and then copied costs more, by stalled
 * loads, than all the arithmetic (18 instead of 8 ns a number with gcc 12). */
static inline void integer_of(const struct parts *parts, struct number *ret_number)
{
    uint64_t value = parts->value;
    ptrdiff_t count = parts->digits_end - parts->digits;
    if (__builtin_expect(count <= DIGITS_SAFE && value <= INT64_MAX, 1)) {
        uint64_t sign = 0 - (uint64_t)parts->negative; /* without a branch: signs are hard to predict */
        ret_number->kind = NUMBER_SIGNED;
        ret_number->natural = (value ^ sign) - sign;
    } else if (count <= DIGITS_SAFE && parts->negative && value == (uint64_t)INT64_MAX + 1) {
        ret_number->kind = NUMBER_SIGNED;
        ret_number->integer = INT64_MIN;
    } else {
        /* 20 digits starting with 1 wrap at most once around 2^64, and then end up below 10^19. */
        bool fits = count <= DIGITS_SAFE ||
                    (count == DIGITS_SAFE + 1 && *parts->digits == '1' && value >= 10000000000000000000u);
        ret_number->kind = fits && !parts->negative ? NUMBER_UNSIGNED : NUMBER_BIG;
        ret_number->natural = value;
    }
}

static inline void double_of(const struct parts *parts, struct number *ret_number)
{
    ptrdiff_t places = parts->fraction_end - parts->fraction;
    double real;
    ret_number->kind = NUMBER_DOUBLE;
    if (__builtin_expect(parts->digits_end - parts->digits + places <= DIGITS_SAFE, 1)) {
        real = scaled(parts->value, parts->exponent - places);
    } else {
        struct parts copy = *parts; /* so that the parts of other numbers can stay in registers */
        if (!long_double(&copy, &real)) {
            ret_number->kind = NUMBER_UNDECIDED;
            return;
        }
    }
    ret_number->natural = bits_of(real) | (uint64_t)parts->negative << 63; /* without a branch, as above */
}

/* Splits a number into its parts. The end, or NULL with `*ret_culprit` set. */
__attribute__((always_inline)) static inline const unsigned char *
parse_parts(const unsigned char *at, const unsigned char *end, struct parts *parts, const unsigned char **ret_culprit)
{
    parts->negative = at < end && *at == '-';
    at += parts->negative;
    parts->digits = at;
    *ret_culprit = at;
    if (at == end || !is_digit(*at)) {
        return NULL;
    }
    parts->value = 0;
    at = *at == '0' ? at + 1 : take_digits(at, end, &parts->value);
    parts->digits_end = parts->fraction = parts->fraction_end = at;
    parts->exponent = 0;
    if (at < end && *at == '.') {
        parts->fraction = at + 1;
        *ret_culprit = parts->fraction_end = at = take_digits(at + 1, end, &parts->value);
        if (at == parts->fraction) {
            return NULL;
        }
    }
    if (at < end && (*at | 0x20) == 'e') {
        *ret_culprit = at = parse_exponent(at + 1, end, &parts->exponent);
        if (!is_digit(at[-1])) {
            return NULL;
        }
    }
    return at;
}

const unsigned char *number_parse(const unsigned char *at, const unsigned char *end, struct number *ret_number)
{
    struct parts parts;
    const unsigned char *culprit;
    at = parse_parts(at, end, &parts, &culprit);
    if (at == NULL) {
        ret_number->kind = NUMBER_BAD;
        return culprit;
    }
    if (at == parts.digits_end) {
        integer_of(&parts, ret_number);
    } else {
        double_of(&parts, ret_number);
    }
    return at;
}

static char *put_integer(char *out, int64_t value)
{
    char reversed[24];
    size_t count = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    if (value < 0) {
        *out++ = '-';
    }
    do {
        reversed[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    while (count > 0) {
        *out++ = reversed[--count];
    }
    return out;
}

void number_condense(const unsigned char *at, const unsigned char *end, char *ret_text)
{
    struct parts parts;
    const unsigned char *culprit;
    if (parse_parts(at, end, &parts, &culprit) == NULL) { /* not what the header asks for */
        memcpy(ret_text, "0", 2);
        return;
    }
    struct digits digits = digits_of(&parts);
    char *out = ret_text;
    if (parts.negative) {
        *out++ = '-';
    }
    int digit = 0, taken = 0;
    while (taken < NUMBER_DIGITS_MAX && (digit = digits_next(&digits)) >= 0) {
        *out++ = (char)('0' + digit);
        taken++;
    }
    int64_t exponent = parts.exponent + digits_position(&digits) + 1;
    while (digit >= 0 && (digit = digits_next(&digits)) == 0) {
    }
    if (digit > 0) { /* something is cut off: stand for it with one digit that breaks ties */
        *out++ = '1';
        exponent--;
    }
    *out++ = 'e';
    out = put_integer(out, exponent);
    *out = '\0';
}
