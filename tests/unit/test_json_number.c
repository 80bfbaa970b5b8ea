/* number: rows flush against a page that faults, and the bits of doubles against strtod, which glibc rounds correctly.
 */
#include "guard.h"

#include "json/number_inline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *name;
    const char *text;
    enum number_kind kind;
    size_t end;
    uint64_t value; /* of integers, as 64 bits */
};

static const struct row rows[] = {
    {"zero", "0", NUMBER_SIGNED, 1, 0},
    {"minus zero is the integer 0", "-0", NUMBER_SIGNED, 2, 0},
    {"a digit behind a zero is not part of it", "01", NUMBER_SIGNED, 1, 0},
    {"an integer ends before a comma", "12,3", NUMBER_SIGNED, 2, 12},
    {"a negative integer", "-42]", NUMBER_SIGNED, 3, (uint64_t)-42},
    {"eighteen digits", "123456789012345678", NUMBER_SIGNED, 18, 123456789012345678},
    {"the largest signed", "9223372036854775807", NUMBER_SIGNED, 19, INT64_MAX},
    {"one more is unsigned", "9223372036854775808", NUMBER_UNSIGNED, 19, (uint64_t)INT64_MAX + 1},
    {"the smallest signed", "-9223372036854775808", NUMBER_SIGNED, 20, (uint64_t)INT64_MIN},
    {"one less is big", "-9223372036854775809", NUMBER_BIG, 20, 0},
    {"nineteen nines", "9999999999999999999", NUMBER_UNSIGNED, 19, 9999999999999999999u},
    {"ten to the nineteen", "10000000000000000000", NUMBER_UNSIGNED, 20, 10000000000000000000u},
    {"the largest unsigned", "18446744073709551615", NUMBER_UNSIGNED, 20, UINT64_MAX},
    {"one more is big too", "18446744073709551616", NUMBER_BIG, 20, 0},
    {"twenty nines", "99999999999999999999", NUMBER_BIG, 20, 0},
    {"twenty digits that wrap to a large value", "36893488147419103231", NUMBER_BIG, 20, 0},
    {"minus ten to the nineteen", "-10000000000000000000", NUMBER_BIG, 21, 0},
    {"forty digits", "1234567890123456789012345678901234567890", NUMBER_BIG, 40, 0},
    {"a point makes a double", "1.0", NUMBER_DOUBLE, 3, 0},
    {"an exponent makes a double", "1e5", NUMBER_DOUBLE, 3, 0},
    {"a capital E", "1E+05x", NUMBER_DOUBLE, 5, 0},
    {"nothing", "", NUMBER_BAD, 0, 0},
    {"a minus alone", "-", NUMBER_BAD, 1, 0},
    {"two minuses", "--1", NUMBER_BAD, 1, 0},
    {"a plus", "+1", NUMBER_BAD, 0, 0},
    {"a point without digits before", ".5", NUMBER_BAD, 0, 0},
    {"a point without digits behind", "1.", NUMBER_BAD, 2, 0},
    {"a point before the exponent", "1.e5", NUMBER_BAD, 2, 0},
    {"an exponent without digits", "1e", NUMBER_BAD, 2, 0},
    {"an exponent with a sign only", "1.5e+", NUMBER_BAD, 5, 0},
    {"an exponent with two signs", "1e+-5", NUMBER_BAD, 3, 0},
    {"minus infinity is none", "-Infinity", NUMBER_BAD, 1, 0},
    {"not a number is none", "NaN", NUMBER_BAD, 0, 0},
};

/* Doubles known to be hard: midpoints, subnormals, borders, long texts. */
static const char *const doubles[] = {
    "0.0",
    "-0.0",
    "0e99999999999999999999",
    "0.0e-5",
    "1e0",
    "0.1",
    "0.3",
    "-123.456e-7",
    "3.14159265358979323846",
    "1e22",
    "1e23",
    "1e-22",
    "1e-23",
    "9007199254740992.0",
    "9007199254740993.0",
    "9007199254740995.0",
    "9007199254740993.00000000000000000000000000000001",
    "9007199254740992.99999999999999999999999999999999",
    "1.7976931348623157e308",
    "1.7976931348623158e308",
    "1.7976931348623159e308",
    "1.797693134862315807e308",
    "1.797693134862315808e308",
    "1e308",
    "1e309",
    "-1e309",
    "1e999",
    "1e99999999999999999999999999",
    "1e-999",
    "-1e-99999999999999999999999999",
    "2.2250738585072014e-308",
    "2.2250738585072011e-308",
    "2.225073858507201e-308",
    "2.2250738585072012e-308",
    "4.9406564584124654e-324",
    "5e-324",
    "4.9e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "2.47032822920623272088e-324",
    "2.4703282292062327208828439643411e-324",
    "2.47032822920623272088284396434110686182e-324",
    "2.4703282292062327208828439643412e-324",
    "7.4109846876186982e-324",
    "1.00000000000000011102230246251565404236316680908203125",
    "1.00000000000000011102230246251565404236316680908203124",
    "1.00000000000000011102230246251565404236316680908203126",
    "1.00000000000000033306690738754696212708950042724609375",
    "1.0000000000000000000000000000000",
    "0.500000000000000166533453693773481063544750213623046875",
    "123456789012345678901234567890.0",
    "1234567890123456789.0",
    "12345678901234567890.0",
    "10000000000000000000000000000000000000000e-40",
    "0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001",
    "8.988465674311579e307",
    "6.631236846766476e-316",
    "3.2378839133029012895883524125015321748630e-310",
    "5.386379163185535e-309",
    "6929495644600919.5",
    "3.7455744005952583e15",
    "4.5035996273704985e15",
    "7.1202363472230444e-307",
    "3.67181602041225e-309",
    "9.5367431640625e-7",
    "8.0e-323",
    "1.5e-323",
    "1448997445238699.0",
    "0.11111111111111111111111111111111111111111111111111",
    "9355950000000000000.0",
    "-2402844368454405395.2",
    "2402844368454405395.2",
    "6250000000000000000000.0",
    "1e43",
    "4.0e44",
    "8.5e-45",
    "862.0e-310",
    "1090544144181609348671888949248.0",
    "1090544144181609348835077142190.0",
    "1090544144181609419040633126912.0",
    "1090544144181609419040633126913.5",
    "72057594037927945.0",
    "9223372036854776833.0",
    "9223372036854776832.0",
    "9223372036854776831.0",
    "18446744073709553665.0",
    "18446744073709553664.0",
    "18446744073709553663.0",
};

static uint64_t bits_of(double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

static void rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct guard text = guard_copy(row->text, strlen(row->text));
        struct number number;
        const unsigned char *end = number_parse(text.data, text.data + text.size, &number);
        if (number.kind != row->kind || end != text.data + row->end) {
            fail_msg("%s: kind %d, end %zu", row->name, (int)number.kind, (size_t)(end - text.data));
        }
        if ((row->kind == NUMBER_SIGNED || row->kind == NUMBER_UNSIGNED) && number.natural != row->value) {
            fail_msg("%s: value %llu", row->name, (unsigned long long)number.natural);
        }
        guard_free(&text);
    }
}

/* What the decoder does with a text of a double. `*decided` counts those that need no help. */
static uint64_t parse_bits(const unsigned char *text, size_t size, size_t *decided)
{
    struct number number;
    assert_ptr_equal(number_parse(text, text + size, &number), text + size);
    if (number.kind == NUMBER_UNDECIDED) {
        struct guard condensed = guard_make(NUMBER_CONDENSED_SIZE);
        number_condense(text, text + size, (char *)condensed.data);
        double real = strtod((char *)condensed.data, NULL);
        guard_free(&condensed);
        return bits_of(real);
    }
    assert_int_equal(number.kind, NUMBER_DOUBLE);
    ++*decided;
    return bits_of(number.real);
}

static void check_double(const char *text, const struct guard *guard, size_t *decided)
{
    size_t size = strlen(text);
    unsigned char *copy = guard_tail(guard, size);
    memcpy(copy, text, size);
    uint64_t bits = parse_bits(copy, size, decided), expected = bits_of(strtod(text, NULL));
    if (bits != expected) {
        fail_msg("%s: %016llx instead of %016llx", text, (unsigned long long)bits, (unsigned long long)expected);
    }
}

static void hard_doubles_are_rounded_correctly(void **state)
{
    (void)state;
    size_t decided = 0;
    struct guard guard = guard_make(256);
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        check_double(doubles[i], &guard, &decided);
    }
    guard_free(&guard);
}

static void powers_of_ten_and_two_are_rounded_correctly(void **state)
{
    (void)state;
    char text[1200];
    size_t decided = 0;
    struct guard guard = guard_make(sizeof text);
    for (int e = -400; e <= 400; e++) {
        snprintf(text, sizeof text, "1e%d", e);
        check_double(text, &guard, &decided);
        snprintf(text, sizeof text, "9999999999999999999e%d", e);
        check_double(text, &guard, &decided);
    }
    double power = 4.9406564584124654e-324;
    for (int e = -1074; e < 1024; e++, power *= 2) {
        snprintf(text, sizeof text, "%.17e", power);
        check_double(text, &guard, &decided);
        snprintf(text, sizeof text, "%.1100f", power); /* exact, and far beyond what is decided without help */
        check_double(text, &guard, &decided);
    }
    guard_free(&guard);
}

static uint64_t random_next(uint64_t *seed)
{
    *seed += 0x9E3779B97F4A7C15;
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

/* Random bits as texts of 15 to 25 digits, and the middle between two neighbours, a hair below and above. */
static void random_doubles_and_midpoints_are_rounded_correctly(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    char text[1200];
    size_t decided = 0, tries = 0;
    uint64_t seed = 1;
    struct guard guard = guard_make(sizeof text);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t bits = random_next(&seed);
        double real;
        memcpy(&real, &bits, sizeof real);
        if (real - real != 0) {
            continue;
        }
        snprintf(text, sizeof text, "%.*e", 14 + i % 11, real);
        check_double(text, &guard, &decided);
        tries++;
    }
    print_message("%zu of %zu texts decided without help\n", decided, tries);
    assert_true(decided > tries - tries / 1000);
    for (int i = 0; i < ROUNDS / 10; i++) { /* integers of 54 bits and more: their midpoints are short to write */
        uint64_t odd = random_next(&seed) >> 10 | 1 | (uint64_t)1 << 53;
        static const char *const tails[] = {".0", ".5e0", ".00000000000000000000000000000001"};
        snprintf(text, sizeof text, "%llu%s", (unsigned long long)odd, tails[i % 3]);
        check_double(text, &guard, &decided);
        snprintf(text, sizeof text, "%llu%s", (unsigned long long)odd << (i % 11), tails[i % 3]);
        check_double(text, &guard, &decided);
    }
    guard_free(&guard);
}

static void long_texts_are_condensed_without_a_change(void **state)
{
    (void)state;
    enum { LENGTH = 5000 };
    static char text[LENGTH + 64];
    size_t decided = 0;
    struct guard guard = guard_make(sizeof text);
    for (size_t point = 0; point < LENGTH; point += 617) {
        for (int digit = 0; digit <= 9; digit += 3) {
            memset(text, '0' + digit, LENGTH);
            text[0] = '1';
            text[1 + point] = '.';
            snprintf(text + LENGTH, 64, "e%d", 20 - (int)point);
            check_double(text, &guard, &decided);
        }
        memset(text, '0', LENGTH); /* a midpoint, and a digit at the very end that breaks the tie */
        memcpy(text, "1.00000000000000011102230246251565404236316680908203125", 55);
        text[LENGTH] = '\0';
        check_double(text, &guard, &decided);
        text[LENGTH - 1] = '1';
        check_double(text, &guard, &decided);
    }
    guard_free(&guard);
}

static void a_number_cut_off_at_any_byte_reads_nothing_behind(void **state)
{
    (void)state;
    static const char text[] = "-1234567890123456789012.123456789012345678901234567890e+1234";
    for (size_t size = 0; size < sizeof text; size++) {
        struct guard guard = guard_copy(text, size);
        struct number number;
        assert_true(number_parse(guard.data, guard.data + size, &number) <= guard.data + size);
        guard_free(&guard);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(hard_doubles_are_rounded_correctly),
        cmocka_unit_test(powers_of_ten_and_two_are_rounded_correctly),
        cmocka_unit_test(random_doubles_and_midpoints_are_rounded_correctly),
        cmocka_unit_test(long_texts_are_condensed_without_a_change),
        cmocka_unit_test(a_number_cut_off_at_any_byte_reads_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
