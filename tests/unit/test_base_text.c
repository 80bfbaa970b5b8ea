/* text: every cut falls on a character's border, and no copy writes past its array. */
#include "descriptors.h"
#include "guard.h"
#include "json_check.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct cut_row {
    const char *name;
    const char *text;
    size_t limit;
    size_t expected;
};

static const struct cut_row cut_rows[] = {
    {"nothing is cut from an empty text", "", 0, 0},
    {"a text that fits stays whole", "abc", 3, 3},
    {"a text that fits amply stays whole", "abc", 100, 3},
    {"ASCII is cut at the limit", "abcdef", 4, 4},
    {"a limit of nothing leaves nothing", "abc", 0, 0},
    {"two bytes are not split", "a\xC3\xA9z", 2, 1},
    {"two bytes that fit are kept", "a\xC3\xA9z", 3, 3},
    {"three bytes are not split after the first", "a\xE2\x82\xACz", 2, 1},
    {"three bytes are not split after the second", "a\xE2\x82\xACz", 3, 1},
    {"three bytes that fit are kept", "a\xE2\x82\xACz", 4, 4},
    {"four bytes are not split after the first", "a\xF0\x9F\x98\x80z", 2, 1},
    {"four bytes are not split after the second", "a\xF0\x9F\x98\x80z", 3, 1},
    {"four bytes are not split after the third", "a\xF0\x9F\x98\x80z", 4, 1},
    {"four bytes that fit are kept", "a\xF0\x9F\x98\x80z", 5, 5},
    {"a first character that does not fit leaves nothing", "\xF0\x9F\x98\x80", 3, 0},
    {"the border between two long characters is a place to cut", "\xE2\x82\xAC\xE2\x82\xAC", 3, 3},
};

static void cuts_fall_on_borders(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cut_rows / sizeof cut_rows[0]; i++) {
        const struct cut_row *row = &cut_rows[i];
        struct guard guard = guard_copy(row->text, strlen(row->text));
        size_t found = text_cut((const char *)guard.data, guard.size, row->limit);
        guard_free(&guard);
        if (found != row->expected) {
            fail_msg("%s: %zu, not %zu", row->name, found, row->expected);
        }
    }
}

/* Valid text of every mixture of character sizes, cut everywhere. */
static const char mixed[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"
                            "bc\xF0\x9F\x98\x80\xC3\xA9\xC3\xA9\xE2\x82\xACz";

static void every_cut_of_a_mixed_text_is_valid_and_longest(void **state)
{
    (void)state;
    for (size_t limit = 0; limit <= sizeof mixed; limit++) {
        size_t cut = text_cut(mixed, sizeof mixed - 1, limit);
        assert_true(cut <= limit);
        assert_true(utf8_check(mixed, cut));
        for (size_t longer = cut + 1; longer <= limit && longer < sizeof mixed; longer++) {
            assert_false(utf8_check(mixed, longer));
        }
    }
}

static void bytes_that_are_no_text_are_cut_near_the_limit(void **state)
{
    (void)state;
    static const unsigned char fills[] = {0x80, 0xBF, 0xC3, 0xE2, 0xF0, 0xFF};
    for (size_t i = 0; i < sizeof fills; i++) {
        struct guard guard = guard_make(64);
        memset(guard.data, fills[i], guard.size);
        for (size_t limit = 0; limit <= 64; limit++) {
            size_t cut = text_cut((const char *)guard.data, guard.size, limit);
            assert_in_range(cut, limit > 3 ? limit - 3 : 0, limit);
        }
        guard_free(&guard);
    }
}

static void copies_fit_and_stay_valid_in_arrays_of_every_size(void **state)
{
    (void)state;
    for (size_t size = 1; size <= sizeof mixed + 4; size++) {
        struct guard target = guard_make(size);
        memset(target.data, 'x', size);
        text_copy((char *)target.data, size, mixed);
        size_t length = strlen((const char *)target.data);
        assert_true(length < size);
        assert_true(utf8_check(target.data, length));
        assert_memory_equal(target.data, mixed, length);
        assert_int_equal(length, text_cut(mixed, sizeof mixed - 1, size - 1));
        guard_free(&target);
    }
}

static void a_sequence_cut_by_the_end_is_removed_and_nothing_else(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof mixed; size++) {
        char text[sizeof mixed];
        memcpy(text, mixed, size);
        text[size] = '\0';
        text_trim_partial(text);
        assert_int_equal(strlen(text), text_cut(mixed, sizeof mixed - 1, size));
        assert_memory_equal(text, mixed, strlen(text));
    }
}

static void trimming_leaves_stray_continuation_bytes_alone(void **state)
{
    (void)state;
    char text[] = "ab\x80\x80\x80\x80\x80";
    text_trim_partial(text);
    assert_string_equal(text, "ab\x80\x80\x80\x80\x80");
}

struct number_row {
    const char *name;
    const char *text;
    uint64_t value; /* if the text is a number */
    int used;       /* bytes of it; 0: it is none */
};

static const struct number_row number_rows[] = {
    {"nothing is no number", "", 0, 0},
    {"a letter is no number", "max", 0, 0},
    {"a sign is no digit", "-1", 0, 0},
    {"a space is no digit", " 1", 0, 0},
    {"zero is a number", "0", 0, 1},
    {"leading zeros count for nothing", "007", 7, 3},
    {"what follows is left", "12 34", 12, 2},
    {"the largest fits", "18446744073709551615", UINT64_MAX, 20},
    {"one more does not", "18446744073709551616", 0, 0},
    {"nor do more digits", "99999999999999999999999", 0, 0},
};

static void numbers_are_digits_that_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof number_rows / sizeof number_rows[0]; i++) {
        const struct number_row *row = &number_rows[i];
        uint64_t value = 41;
        const char *end = text_number(row->text, &value);
        const char *expected = row->used > 0 ? row->text + row->used : NULL;
        if (end != expected || value != (row->used > 0 ? row->value : 41)) {
            fail_msg("%s: %llu", row->name, (unsigned long long)value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(cuts_fall_on_borders),
        DESCRIPTOR_TEST(every_cut_of_a_mixed_text_is_valid_and_longest),
        DESCRIPTOR_TEST(bytes_that_are_no_text_are_cut_near_the_limit),
        DESCRIPTOR_TEST(copies_fit_and_stay_valid_in_arrays_of_every_size),
        DESCRIPTOR_TEST(a_sequence_cut_by_the_end_is_removed_and_nothing_else),
        DESCRIPTOR_TEST(trimming_leaves_stray_continuation_bytes_alone),
        DESCRIPTOR_TEST(numbers_are_digits_that_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
