/* utf8: every sequence of up to three bytes, the borders of those of four, and the shared table, against a page that
 * faults. */
#include "guard.h"

#include "json/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char shared_cases[] = "../shared/conformance/utf8-cases.tsv";

/* Another way to say what is valid: decode loosely, and see whether the shortest form of a legal code point is the same
 * bytes. The length of the sequence, or 0. */
static size_t oracle(const unsigned char *at, size_t size)
{
    size_t length = size == 0      ? 0
                    : at[0] < 0x80 ? 1
                    : at[0] < 0xC0 ? 0
                    : at[0] < 0xE0 ? 2
                    : at[0] < 0xF0 ? 3
                    : at[0] < 0xF8 ? 4
                                   : 0;
    if (length == 0 || length > size) {
        return 0;
    }
    uint32_t code = length == 1 ? at[0] : at[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3Fu);
    }
    size_t shortest = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    return shortest == length && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) ? length : 0;
}

/* Both functions on `size` bytes flush against the page. */
static void check(const struct guard *guard, const unsigned char *bytes, size_t size)
{
    unsigned char *copy = guard_tail(guard, size);
    memcpy(copy, bytes, size);
    size_t expected = oracle(copy, size), valid = 0;
    size_t length = utf8_sequence(copy, copy + size);
    for (size_t step = expected; step > 0; step = oracle(copy + valid, size - valid)) {
        valid += step;
    }
    if (length != expected || utf8_valid_prefix(copy, size) != valid) {
        fail_msg("%02x %02x %02x %02x, %zu bytes: length %zu, not %zu", bytes[0], bytes[1], bytes[2], bytes[3], size,
                 length, expected);
    }
    if (length > 0) {
        const unsigned char *at = copy;
        uint32_t code = utf8_take(&at);
        assert_ptr_equal(at, copy + length);
        assert_true(code <= 0x10FFFF);
    }
}

static void short_sequences_are_told_apart(void **state)
{
    (void)state;
    struct guard guard = guard_make(4);
    for (uint32_t i = 0; i < 1u << 24; i++) {
        const unsigned char bytes[4] = {(unsigned char)(i >> 16), (unsigned char)(i >> 8), (unsigned char)i};
        if (i % 0x10000 == 0) {
            check(&guard, bytes, 1);
        }
        if (i % 0x100 == 0) {
            check(&guard, bytes, 2);
        }
        if (bytes[0] >= 0xC0) { /* ASCII and stray bytes in front tell no more than those of two bytes */
            check(&guard, bytes, 3);
        }
    }
    guard_free(&guard);
}

static void sequences_of_four_are_told_apart_at_their_borders(void **state)
{
    (void)state;
    static const unsigned char tails[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0, 0xFF};
    struct guard guard = guard_make(4);
    for (unsigned lead = 0xE0; lead <= 0xFF; lead++) {
        for (unsigned second = 0; second <= 0xFF; second++) {
            for (size_t i = 0; i < sizeof tails * sizeof tails; i++) {
                const unsigned char bytes[4] = {(unsigned char)lead, (unsigned char)second, tails[i / sizeof tails],
                                                tails[i % sizeof tails]};
                check(&guard, bytes, 4);
            }
        }
    }
    guard_free(&guard);
}

static void a_fault_is_found_at_every_place_in_a_long_text(void **state)
{
    (void)state;
    struct guard guard = guard_make(100);
    for (size_t size = 0; size <= guard.size; size++) {
        unsigned char *text = guard_tail(&guard, size);
        memset(text, 'a', size);
        assert_int_equal(utf8_valid_prefix(text, size), size);
        for (size_t place = 0; place < size; place++) {
            text[place] = 0xC3;
            assert_int_equal(utf8_valid_prefix(text, size), place);
            text[place] = 'a';
        }
    }
    guard_free(&guard);
}

/* "e282ac" to bytes; "-" is none. */
static size_t unhex(const char *hex, unsigned char *bytes)
{
    size_t size = 0;
    unsigned byte;
    while (sscanf(hex + 2 * size, "%2x", &byte) == 1) {
        bytes[size++] = (unsigned char)byte;
    }
    return size;
}

static void the_shared_cases_hold(void **state)
{
    (void)state;
    FILE *file = fopen(shared_cases, "r");
    if (file == NULL) {
        print_message("%s is absent\n", shared_cases);
        skip();
        return;
    }
    char line[1024], hex[512], verdict[32];
    unsigned count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned char bytes[256];
        if (line[0] == '#' || sscanf(line, "%511s %31s", hex, verdict) != 2) {
            continue;
        }
        struct guard guard = guard_copy(bytes, unhex(hex, bytes));
        bool valid = utf8_valid_prefix(guard.data, guard.size) == guard.size;
        if (valid != (strcmp(verdict, "valid") == 0)) {
            fail_msg("%s", line);
        }
        guard_free(&guard);
        count++;
    }
    fclose(file);
    print_message("%u cases\n", count);
    assert_int_equal(count, 199);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_sequences_are_told_apart),
        cmocka_unit_test(sequences_of_four_are_told_apart_at_their_borders),
        cmocka_unit_test(a_fault_is_found_at_every_place_in_a_long_text),
        cmocka_unit_test(the_shared_cases_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
