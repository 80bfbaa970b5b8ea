#include "json/number.h"

#include "json/number_inline.h"
#include "json/pow10.h"

enum {
    FRACTION_BITS = 52, /* of a double, without the hidden one */
    EXPONENT_INFINITE = 0x7FF,
};

static uint64_t infinite_bits(void) { return (uint64_t)EXPONENT_INFINITE << FRACTION_BITS; }

uint64_t number_scale(uint64_t w, int64_t q)
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
    int exponent = pow10_exponent((int)q) + 127 + 63 + top - zeros + 1023;
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

/* Significant digits one after the other, across the point and without leading zeros. */
struct digits {
    const unsigned char *at;
    const struct number_parts *parts;
};

static struct digits number_digits_of(const struct number_parts *parts)
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
    const struct number_parts *parts = digits->parts;
    if (digits->at >= parts->digits && digits->at < parts->digits_end) {
        return parts->digits_end - digits->at - 1;
    }
    const unsigned char *at = digits->at == parts->digits_end ? parts->fraction : digits->at;
    return -(at - parts->fraction) - 1;
}

/* More than 19 digits: take 19, and be content if one unit more in the last gives the same double. */
bool number_long(const struct number_parts *parts, double *ret_real)
{
    struct digits digits = number_digits_of(parts);
    uint64_t w = 0;
    int digit = 0, taken = 0;
    while (taken < NUMBER_DIGITS_SAFE && (digit = digits_next(&digits)) >= 0) {
        w = w * 10 + (unsigned)digit;
        taken++;
    }
    int64_t q = parts->exponent + digits_position(&digits) + 1;
    while (digit >= 0 && (digit = digits_next(&digits)) == 0) {
    }
    double real = number_scaled(w, q);
    if (digit > 0 && real != number_scaled(w + 1, q)) {
        return false;
    }
    *ret_real = real;
    return true;
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
    struct number_parts parts;
    const unsigned char *culprit;
    if (number_split(at, end, &parts, &culprit) == NULL) { /* not what the header asks for */
        memcpy(ret_text, "0", 2);
        return;
    }
    struct digits digits = number_digits_of(&parts);
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
