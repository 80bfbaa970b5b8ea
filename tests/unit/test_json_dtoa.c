/* dtoa and itoa: the layout of CPython's repr, the shortest digits that read back as the same number, nothing written
 * beyond the room that is asked for. */
#include "guard.h"

#include "json/dtoa.h"
#include "json/itoa.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *name;
    double value;
    const char *text;
} rows[] = {
    {"zero has a point", 0.0, "0.0"},
    {"minus zero keeps its sign", -0.0, "-0.0"},
    {"a whole number has a point", 1.0, "1.0"},
    {"so has a negative one", -120.0, "-120.0"},
    {"the largest double that is odd", 9007199254740991.0, "9007199254740991.0"},
    {"two to the 53rd", 9007199254740992.0, "9007199254740992.0"},
    {"the last one without an exponent", 9999999999999998.0, "9999999999999998.0"},
    {"the first one with an exponent", 1e16, "1e+16"},
    {"an exponent and digits", 12345678901234568000.0, "1.2345678901234567e+19"},
    {"an exponent of three digits", 1.5e300, "1.5e+300"},
    {"the largest", 1.7976931348623157e308, "1.7976931348623157e+308"},
    {"three zeros behind the point", 0.0001, "0.0001"},
    {"four zeros make an exponent", 0.00001, "1e-05"},
    {"a negative exponent and digits", 0.000012345, "1.2345e-05"},
    {"the smallest normal one", 2.2250738585072014e-308, "2.2250738585072014e-308"},
    {"the largest subnormal one", 2.225073858507201e-308, "2.225073858507201e-308"},
    {"the smallest", 5e-324, "5e-324"},
    {"ten of the smallest", 5e-323, "5e-323"},
    {"a tenth", 0.1, "0.1"},
    {"a sum of tenths", 0.30000000000000004, "0.30000000000000004"},
    {"a third", 1.0 / 3, "0.3333333333333333"},
    {"17 digits", -65.613616999999977, "-65.61361699999998"},
    {"seven digits before the point", 1234567.875, "1234567.875"},
    {"eight digits before the point", 12345678.875, "12345678.875"},
    {"nine digits before the point", 123456789.875, "123456789.875"},
    {"fifteen digits before the point", 123456789012345.5, "123456789012345.5"},
    {"sixteen digits before the point", 1234567890123456.5, "1234567890123456.5"},
    {"zeros before the point that are digits", 100000.5, "100000.5"},
    {"a power of two, whose lower neighbour is nearer", 9.5367431640625e-07, "9.5367431640625e-07"},
    {"the same, where the shortest lies above", 5.684341886080802e-14, "5.684341886080802e-14"},
    {"a border of the interval that is itself allowed", 2e23, "2e+23"},
    {"one that is not", 1e23, "1e+23"},
    {"a tie goes to the even digit", 5e-310, "5e-310"},
    {"a hard one", 8.41e21, "8.41e+21"},
    {"another", 2.0919495182368195e-58, "2.0919495182368197e-58"},
};

/* The text, written flush against a page that faults. */
static void text_of(double value, char *text)
{
    static struct guard guard;
    if (guard.data == NULL) {
        guard = guard_make(DTOA_SIZE);
    }
    unsigned char *end = dtoa(guard.data, value);
    size_t size = (size_t)(end - guard.data);
    assert_in_range(size, 3, 24);
    memcpy(text, guard.data, size);
    text[size] = '\0';
}

static void rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[DTOA_SIZE];
        text_of(rows[i].value, text);
        if (strcmp(text, rows[i].text) != 0) {
            fail_msg("%s: %s, not %s", rows[i].name, text, rows[i].text);
        }
    }
}

/* The promise, by trying: the fewest digits of printf that read back as the value, laid out by hand. `single`: as the
 * same float. */
static void oracle(double value, bool single, char *text)
{
    char scientific[40], digits[20];
    double positive = __builtin_fabs(value);
    int precision = 0;
    do {
        (void)snprintf(scientific, sizeof scientific, "%.*e", precision, positive);
    } while ((single ? (double)strtof(scientific, NULL) : strtod(scientific, NULL)) != positive && precision++ < 17);
    int exponent = atoi(strchr(scientific, 'e') + 1), point = exponent + 1, count = 0;
    for (const char *c = scientific; *c != 'e'; c++) {
        if (*c != '.') {
            digits[count++] = *c;
        }
    }
    while (count > 1 && digits[count - 1] == '0') {
        count--;
    }
    text += __builtin_signbit(value) ? sprintf(text, "-") : 0;
    if (point > 16 || point <= -4) {
        (void)sprintf(text, "%c%s%.*se%+03d", digits[0], count > 1 ? "." : "", count - 1, digits + 1, exponent);
    } else if (point <= 0) {
        (void)sprintf(text, "0.%.*s%.*s", -point, "0000", count, digits);
    } else if (count > point) {
        (void)sprintf(text, "%.*s.%.*s", point, digits, count - point, digits + point);
    } else {
        (void)sprintf(text, "%.*s%.*s.0", count, digits, point - count, "0000000000000000");
    }
}

static void check(double value)
{
    char text[DTOA_SIZE], expected[64];
    if (!__builtin_isfinite(value)) {
        return;
    }
    text_of(value, text);
    oracle(value, false, expected);
    if (strcmp(text, expected) != 0) {
        fail_msg("%a: %s, not %s", value, text, expected);
    }
}

static uint64_t random_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed ^ *seed >> 29;
}

static double of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void random_numbers_agree_with_the_plain_way(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_next(&seed);
        check(of_bits(bits));
        check((double)(int64_t)bits);
        static const double powers[] = {1,   10,  100,  1e3,  1e4,  1e5,  1e6,  1e7,
                                        1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
        check((double)(bits % 100000000) / powers[bits >> 60]);
        check((double)(bits >> 11) * 0x1p-53);
        check(of_bits(bits >> 12)); /* subnormal */
    }
}

/* Powers of two, where the interval is lopsided, are told by CPython in tests/codec/check_reprs.py. */
static void neighbours_of_powers_agree_with_the_plain_way(void **state)
{
    (void)state;
    for (int exponent = -1074; exponent < 1024; exponent++) {
        uint64_t bits = exponent < -1022 ? UINT64_C(1) << (exponent + 1074) : (uint64_t)(exponent + 1023) << 52;
        check(of_bits(bits - 1));
        check(of_bits(bits + 1));
    }
    for (int exponent = -323; exponent < 309; exponent++) {
        char text[16];
        (void)snprintf(text, sizeof text, "1e%d", exponent);
        double power = strtod(text, NULL);
        for (int factor = 1; factor < 10; factor++) {
            double value = factor * power;
            uint64_t bits;
            memcpy(&bits, &value, sizeof bits);
            check(value);
            check(of_bits(bits - 1));
            check(of_bits(bits + 1));
        }
    }
}

static void check_integer(uint64_t value)
{
    static struct guard guard;
    char expected[32];
    if (guard.data == NULL) {
        guard = guard_make(ITOA_SIZE);
    }
    unsigned char *end = itoa_u64(guard.data, value);
    (void)snprintf(expected, sizeof expected, "%" PRIu64, value);
    assert_int_equal(end - guard.data, strlen(expected));
    assert_memory_equal(guard.data, expected, strlen(expected));
    end = itoa_i64(guard.data, (int64_t)value);
    (void)snprintf(expected, sizeof expected, "%" PRId64, (int64_t)value);
    assert_int_equal(end - guard.data, strlen(expected));
    assert_memory_equal(guard.data, expected, strlen(expected));
}

static void integers_agree_with_printf(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (uint64_t value = 0; value < 20000; value++) {
        check_integer(value);
        check_integer(0 - value);
    }
    for (uint64_t power = 1, digits = 1; digits <= 20; digits++, power *= 10) {
        check_integer(power - 1);
        check_integer(power);
        check_integer(power + 1);
    }
    check_integer((uint64_t)INT64_MAX);
    check_integer((uint64_t)INT64_MIN);
    check_integer(UINT64_MAX);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_next(&seed);
        check_integer(bits >> (bits & 63));
    }
}

static void check_float(float value)
{
    static struct guard guard;
    char text[DTOA_SIZE], expected[64];
    if (guard.data == NULL) {
        guard = guard_make(DTOA_SIZE);
    }
    unsigned char *end = dtoa_float(guard.data, value);
    size_t size = (size_t)(end - guard.data);
    memcpy(text, guard.data, size);
    text[size] = '\0';
    oracle((double)value, true, expected);
    assert_true(strtof(text, NULL) == value);
    /* below a power of two the next float is only half as far: a shorter text above it may do that printf, which rounds
     * to the nearest, does not find */
    if (strlen(text) >= strlen(expected)) {
        assert_string_equal(text, expected);
    }
}

static void floats_agree_with_the_plain_way(void **state)
{
    (void)state;
    uint32_t bits = 1;
    for (int i = 0; i < 200000; i++) {
        bits = i < 1024 ? (uint32_t)(i / 4) << 23 | (uint32_t)(i % 4 == 3 ? 0x7FFFFF : i % 4)
                        : bits * 1664525 + 1013904223;
        float value;
        memcpy(&value, &bits, sizeof value);
        if (__builtin_isfinite(value)) {
            check_float(value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(random_numbers_agree_with_the_plain_way),
        cmocka_unit_test(neighbours_of_powers_agree_with_the_plain_way),
        cmocka_unit_test(floats_agree_with_the_plain_way),
        cmocka_unit_test(integers_agree_with_printf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
