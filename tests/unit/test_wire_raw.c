/*
 * raw: where a bare JSON request ends (docs/protocol.md). Every row runs whole and byte by byte, each time
 * flush against a page that faults.
 */
#include "descriptors.h"
#include "guard.h"

#include "wire/raw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { BIG = 1 << 20 };

struct raw_row {
    const char *name;
    const char *bytes;
    size_t limit;
    enum wire_step step;   /* after all bytes */
    size_t done_at;        /* byte by byte: how many bytes make it DONE or BAD; 0: none */
    enum wire_step at_end; /* what the end of the input makes of WIRE_MORE */
    enum error_category category;
};

static const struct raw_row raw_rows[] = {
    {"no byte is nothing yet, and empty at the end", "", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_EMPTY},
    {"white space is nothing yet, and empty at the end", " \t\r\n", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_EMPTY},
    {"an object ends at its brace", "{\"a\":1}", BIG, WIRE_DONE, 7, WIRE_DONE, ERR_NONE},
    {"an empty object ends at its brace", "{}", BIG, WIRE_DONE, 2, WIRE_DONE, ERR_NONE},
    {"an array ends at its bracket", "[1,[2,[3]]]", BIG, WIRE_DONE, 11, WIRE_DONE, ERR_NONE},
    {"a string ends at its quote", "\"a\\\"b\"", BIG, WIRE_DONE, 6, WIRE_DONE, ERR_NONE},
    {"an empty string ends at its quote", "\"\"", BIG, WIRE_DONE, 2, WIRE_DONE, ERR_NONE},
    {"brackets in strings are text", "{\"}]\":\"[{\"}", BIG, WIRE_DONE, 11, WIRE_DONE, ERR_NONE},
    {"an escaped backslash does not escape the quote", "[\"\\\\\"]", BIG, WIRE_DONE, 6, WIRE_DONE, ERR_NONE},
    {"true ends at its last letter", "true", BIG, WIRE_DONE, 4, WIRE_DONE, ERR_NONE},
    {"false ends at its last letter", "false", BIG, WIRE_DONE, 5, WIRE_DONE, ERR_NONE},
    {"null ends at its last letter", "null", BIG, WIRE_DONE, 4, WIRE_DONE, ERR_NONE},
    {"a number may go on, and is whole at the end", "12", BIG, WIRE_MORE, 0, WIRE_DONE, ERR_NONE},
    {"a negative number may go on", "-1.5e+3", BIG, WIRE_MORE, 0, WIRE_DONE, ERR_NONE},
    {"a number ends at white space", "12\n", BIG, WIRE_DONE, 3, WIRE_DONE, ERR_NONE},
    {"white space before the value belongs to it", " \n\t{}", BIG, WIRE_DONE, 5, WIRE_DONE, ERR_NONE},
    {"white space behind the value arrived with it", "{} \n", BIG, WIRE_DONE, 2, WIRE_DONE, ERR_NONE},
    {"what else is behind is for the decoder to judge", "{}x", BIG, WIRE_DONE, 2, WIRE_DONE, ERR_NONE},
    {"a second value is for the decoder to judge", "{}{}", BIG, WIRE_DONE, 2, WIRE_DONE, ERR_NONE},
    {"an open object waits, and is the decoder's at the end", "{\"a\":", BIG, WIRE_MORE, 0, WIRE_DONE, ERR_NONE},
    {"an open string waits", "\"abc", BIG, WIRE_MORE, 0, WIRE_DONE, ERR_NONE},
    {"a started literal waits", "tru", BIG, WIRE_MORE, 0, WIRE_DONE, ERR_NONE},
    {"a misspelt literal waits for the rest of it", "trux", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_JSON},
    {"brackets that do not match still balance", "[}", BIG, WIRE_DONE, 2, WIRE_DONE, ERR_NONE},
    {"a letter begins no value", "hello", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_JSON},
    {"a closing brace begins no value", "}", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_JSON},
    {"a comma behind white space begins no value", "  ,", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_JSON},
    {"a byte order mark begins no value", "\xEF\xBB\xBF{}", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_JSON},
    {"a vertical tab is no white space", "\v{}", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_JSON},
    {"text behind what begins no value is only waited out", "hello {}", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_JSON},
    {"bytes that are no UTF-8 take precedence", "hello \xFF", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_ENCODING},
    {"a byte that is no UTF-8 begins nothing", "\xFF{}", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_ENCODING},
    {"UTF-16 with its mark is no UTF-8", "\xFF\xFE{", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_ENCODING},
    {"a character cut by the end is no UTF-8", "hello \xE2\x82", BIG, WIRE_MORE, 0, WIRE_BAD, ERR_ENCODING},
    {"what begins no value may still be too large", "hello", 4, WIRE_BAD, 5, WIRE_BAD, ERR_TOO_LARGE},
    {"as many bytes as the limit are not too many", "{\"a\":1}", 7, WIRE_DONE, 7, WIRE_DONE, ERR_NONE},
    {"one more than the limit is too many", "{\"ab\":1}", 7, WIRE_BAD, 8, WIRE_BAD, ERR_TOO_LARGE},
    {"white space counts too", "      {}", 7, WIRE_BAD, 8, WIRE_BAD, ERR_TOO_LARGE},
    {"a limit of one byte lets a digit through", "7", 1, WIRE_MORE, 0, WIRE_DONE, ERR_NONE},
    {"a limit of one byte lets nothing longer through", "77", 1, WIRE_BAD, 2, WIRE_BAD, ERR_TOO_LARGE},
    {"an open value of the limit's size waits", "[1,2", 4, WIRE_MORE, 0, WIRE_DONE, ERR_NONE},
};

static void check_step(const struct raw_row *row, const char *how, enum wire_step step, const struct error *err)
{
    if (step == WIRE_BAD && err->category != row->category) {
        fail_msg("%s, %s: %s: %s", row->name, how, error_code(err->category), err->text);
    }
    if (step == WIRE_BAD && err->text[0] == '\0') {
        fail_msg("%s, %s: no text", row->name, how);
    }
}

static void check_end(const struct raw_row *row, const char *how, const struct raw *raw)
{
    struct error err = {0};
    struct guard bytes = guard_copy(row->bytes, strlen(row->bytes));
    enum wire_step step = raw_end(raw, bytes.data, bytes.size, &err);
    guard_free(&bytes);
    if (step != row->at_end) {
        fail_msg("%s, %s: %d at the end", row->name, how, (int)step);
    }
    check_step(row, how, step, &err);
}

static void run_whole(const struct raw_row *row, const struct guard *bytes)
{
    struct raw raw = raw_make(row->limit);
    struct error err = {0};
    enum wire_step step = raw_feed(&raw, bytes->data, bytes->size, &err);
    if (step != row->step) {
        fail_msg("%s, whole: %d", row->name, (int)step);
    }
    check_step(row, "whole", step, &err);
    if (step == WIRE_MORE) {
        check_end(row, "whole", &raw);
    }
}

/* As it may arrive: `message` is always all of it, in memory that ends where it ends. */
static void run_byte_by_byte(const struct raw_row *row)
{
    struct raw raw = raw_make(row->limit);
    size_t size = strlen(row->bytes);
    for (size_t arrived = 1; arrived <= size; arrived++) {
        struct guard bytes = guard_copy(row->bytes, arrived);
        struct error err = {0};
        enum wire_step step = raw_feed(&raw, bytes.data, bytes.size, &err);
        guard_free(&bytes);
        if ((step != WIRE_MORE) != (row->done_at != 0 && arrived >= row->done_at)) {
            fail_msg("%s, byte by byte: %d after %zu", row->name, (int)step, arrived);
        }
        check_step(row, "byte by byte", step, &err);
        if (step == WIRE_BAD) {
            return;
        }
    }
    if (row->done_at == 0) {
        check_end(row, "byte by byte", &raw);
    }
}

static void run_in_two(const struct raw_row *row, const struct guard *bytes)
{
    for (size_t first = 0; first <= bytes->size; first++) {
        struct raw raw = raw_make(row->limit);
        struct error err = {0};
        enum wire_step step = raw_feed(&raw, bytes->data, first, &err);
        if (step != WIRE_BAD) {
            step = raw_feed(&raw, bytes->data, bytes->size, &err);
        }
        if (step != row->step) {
            fail_msg("%s, in two at %zu: %d", row->name, first, (int)step);
        }
        check_step(row, "in two", step, &err);
    }
}

static void requests_end_where_the_contract_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof raw_rows / sizeof raw_rows[0]; i++) {
        struct guard bytes = guard_copy(raw_rows[i].bytes, strlen(raw_rows[i].bytes));
        run_whole(&raw_rows[i], &bytes);
        run_in_two(&raw_rows[i], &bytes);
        guard_free(&bytes);
        run_byte_by_byte(&raw_rows[i]);
    }
}

static void a_refusal_names_byte_limit_and_variable(void **state)
{
    (void)state;
    struct error err;
    struct raw raw = raw_make(100);
    assert_int_equal(raw_feed(&raw, (const unsigned char *)"  x", 3, &err), WIRE_MORE);
    assert_int_equal(raw_end(&raw, (const unsigned char *)"  x", 3, &err), WIRE_BAD);
    assert_int_equal(err.offset, 2);
    assert_non_null(strstr(err.text, "unexpected 'x'"));
    assert_non_null(strstr(err.text, "byte 2"));
    raw = raw_make(2);
    assert_int_equal(raw_feed(&raw, (const unsigned char *)"[1]", 3, &err), WIRE_BAD);
    assert_non_null(strstr(err.text, "2 bytes"));
    assert_non_null(strstr(err.text, "ASYA_MAX_MESSAGE_SIZE"));
}

static void the_place_of_a_bad_byte_counts_from_the_first_piece(void **state)
{
    (void)state;
    struct error err;
    struct raw raw = raw_make(100);
    const unsigned char *bytes = (const unsigned char *)"    ,,\xFF";
    for (size_t size = 0; size <= 6; size++) {
        assert_int_equal(raw_feed(&raw, bytes, size, &err), WIRE_MORE);
    }
    assert_int_equal(raw_end(&raw, bytes, 6, &err), WIRE_BAD);
    assert_int_equal(err.category, ERR_JSON);
    assert_int_equal(err.offset, 4);
    assert_int_equal(raw_feed(&raw, bytes, 7, &err), WIRE_MORE);
    assert_int_equal(raw_end(&raw, bytes, 7, &err), WIRE_BAD);
    assert_int_equal(err.category, ERR_ENCODING);
    assert_int_equal(err.offset, 6);
}

static void nesting_of_any_depth_is_followed(void **state)
{
    (void)state;
    enum { DEPTH = 300000 };
    struct guard bytes = guard_make(2 * DEPTH);
    memset(bytes.data, '[', DEPTH);
    memset(bytes.data + DEPTH, ']', DEPTH);
    for (size_t step = 1; step < 2 * DEPTH; step = step * 7 + 1) {
        struct raw raw = raw_make(BIG);
        struct error err;
        size_t size = 0;
        while (size + step < bytes.size) {
            size += step;
            assert_int_equal(raw_feed(&raw, bytes.data, size, &err), WIRE_MORE);
        }
        assert_int_equal(raw_feed(&raw, bytes.data, bytes.size, &err), WIRE_DONE);
    }
    guard_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(requests_end_where_the_contract_says),
        DESCRIPTOR_TEST(a_refusal_names_byte_limit_and_variable),
        DESCRIPTOR_TEST(the_place_of_a_bad_byte_counts_from_the_first_piece),
        DESCRIPTOR_TEST(nesting_of_any_depth_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
