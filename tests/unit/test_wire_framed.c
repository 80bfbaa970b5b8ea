/*
 * detect and framed: the first byte says the protocol, the first four the length (docs/protocol.md). Rows of
 * framed run whole and byte by byte, each time flush against a page that faults.
 */
#include "descriptors.h"
#include "guard.h"

#include "wire/detect.h"
#include "wire/framed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- detect ----------------------------------------------------------------------------------------------------- */

static enum protocol expected_protocol(int byte)
{
    if (byte <= 0x08) {
        return PROTOCOL_FRAMED;
    }
    return byte < 0x80 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ", byte) != NULL ? PROTOCOL_HTTP : PROTOCOL_RAW;
}

static void every_first_byte_has_its_protocol(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        enum protocol expected = expected_protocol(byte);
        if (detect(PROTOCOL_AUTO, (unsigned char)byte) != expected) {
            fail_msg("0x%02x is not %d", (unsigned)byte, (int)expected);
        }
    }
}

static void whatever_begins_json_is_bare_json(void **state)
{
    (void)state;
    for (const char *first = "{[\"tfn-0123456789 \t\r\n"; *first != '\0'; first++) {
        assert_int_equal(detect(PROTOCOL_AUTO, (unsigned char)*first), PROTOCOL_RAW);
    }
}

static void a_chosen_protocol_is_the_one_whatever_the_byte(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        assert_int_equal(detect(PROTOCOL_RAW, (unsigned char)byte), PROTOCOL_RAW);
        assert_int_equal(detect(PROTOCOL_FRAMED, (unsigned char)byte), PROTOCOL_FRAMED);
        assert_int_equal(detect(PROTOCOL_HTTP, (unsigned char)byte), PROTOCOL_HTTP);
    }
}

static void the_largest_limit_of_auto_is_still_a_frame(void **state)
{
    (void)state;
    unsigned char prefix[FRAMED_PREFIX_SIZE];
    framed_prefix(prefix, (uint32_t)DETECT_AUTO_LIMIT);
    assert_int_equal(detect(PROTOCOL_AUTO, prefix[0]), PROTOCOL_FRAMED);
    framed_prefix(prefix, (uint32_t)DETECT_AUTO_LIMIT + 1);
    assert_int_equal(detect(PROTOCOL_AUTO, prefix[0]), PROTOCOL_RAW);
}

/* ---- framed ----------------------------------------------------------------------------------------------------- */

struct framed_row {
    const char *name;
    const char *bytes;
    size_t size;
    size_t limit;
    enum wire_step step;
    size_t body; /* WIRE_DONE: bytes of it; WIRE_BAD: of the message at which it shows */
    enum error_category at_end;
};

#define ROW(name, bytes, ...)                                                                                          \
    {                                                                                                                  \
        name, bytes, sizeof bytes - 1, __VA_ARGS__                                                                     \
    }

static const struct framed_row framed_rows[] = {
    ROW("no byte is nothing yet", "", 100, WIRE_MORE, 0, ERR_EMPTY),
    ROW("one byte of the length waits", "\0", 100, WIRE_MORE, 0, ERR_CONNECTION),
    ROW("three bytes of the length wait", "\0\0\0", 100, WIRE_MORE, 0, ERR_CONNECTION),
    ROW("the length alone waits", "\0\0\0\2", 100, WIRE_MORE, 0, ERR_CONNECTION),
    ROW("all but one byte wait", "\0\0\0\3{}", 100, WIRE_MORE, 0, ERR_CONNECTION),
    ROW("a whole message", "\0\0\0\2{}", 100, WIRE_DONE, 2, ERR_NONE),
    ROW("a message of nothing is whole", "\0\0\0\0", 100, WIRE_DONE, 0, ERR_NONE),
    ROW("what follows a message is ignored", "\0\0\0\2{}\0\0\0\2{}", 100, WIRE_DONE, 2, ERR_NONE),
    ROW("the length begins with its highest byte", "\0\0\1\0{}", 1000, WIRE_MORE, 0, ERR_CONNECTION),
    ROW("a message of the limit's size", "\0\0\0\2{}", 2, WIRE_DONE, 2, ERR_NONE),
    ROW("one byte more than the limit", "\0\0\0\3{} ", 2, WIRE_BAD, 4, ERR_TOO_LARGE),
    ROW("2^24", "\1\0\0\0", 10485760, WIRE_BAD, 4, ERR_TOO_LARGE),
    ROW("2^31 - 1", "\x7F\xFF\xFF\xFF", 10485760, WIRE_BAD, 4, ERR_TOO_LARGE),
    ROW("2^31", "\x80\0\0\0", 10485760, WIRE_BAD, 4, ERR_TOO_LARGE),
    ROW("2^32 - 1", "\xFF\xFF\xFF\xFF", 10485760, WIRE_BAD, 4, ERR_TOO_LARGE),
    ROW("2^32 - 1 with a limit above", "\xFF\xFF\xFF\xFF{}", (size_t)1 << 32, WIRE_MORE, 0, ERR_CONNECTION),
    ROW("2^32 - 1 with a limit of it", "\xFF\xFF\xFF\xFF{}", UINT32_MAX, WIRE_MORE, 0, ERR_CONNECTION),
};

static void check_framed(const struct framed_row *row, size_t arrived)
{
    struct guard message = guard_copy(row->bytes, arrived);
    struct view body = {NULL, 0};
    struct error err = {0};
    enum wire_step step = framed_feed(row->limit, message.data, arrived, &body, &err);
    enum wire_step expected = row->step;
    if ((expected == WIRE_DONE && arrived < FRAMED_PREFIX_SIZE + row->body) ||
        (expected == WIRE_BAD && arrived < row->body)) {
        expected = WIRE_MORE;
    }
    if (step != expected) {
        fail_msg("%s: %d after %zu bytes", row->name, (int)step, arrived);
    }
    if (step == WIRE_DONE) {
        assert_int_equal(body.size, row->body);
        assert_ptr_equal(body.data, (const char *)message.data + FRAMED_PREFIX_SIZE);
    } else if (step == WIRE_BAD) {
        assert_int_equal(err.category, ERR_TOO_LARGE);
        assert_non_null(strstr(err.text, "ASYA_MAX_MESSAGE_SIZE"));
    } else if (arrived == row->size) {
        framed_end(message.data, arrived, &err);
        if (err.category != row->at_end || err.text[0] == '\0') {
            fail_msg("%s: %s at the end: %s", row->name, error_code(err.category), err.text);
        }
    }
    guard_free(&message);
}

static void frames_end_where_the_contract_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof framed_rows / sizeof framed_rows[0]; i++) {
        for (size_t arrived = 0; arrived <= framed_rows[i].size; arrived++) {
            check_framed(&framed_rows[i], arrived);
        }
    }
}

static void the_prefix_of_a_reply_is_big_endian(void **state)
{
    (void)state;
    struct guard prefix = guard_make(FRAMED_PREFIX_SIZE);
    framed_prefix(prefix.data, 0x01020304);
    assert_memory_equal(prefix.data, "\1\2\3\4", 4);
    framed_prefix(prefix.data, UINT32_MAX);
    assert_memory_equal(prefix.data, "\xFF\xFF\xFF\xFF", 4);
    framed_prefix(prefix.data, 0);
    assert_memory_equal(prefix.data, "\0\0\0\0", 4);
    guard_free(&prefix);
}

static void an_end_inside_says_how_far_it_was(void **state)
{
    (void)state;
    struct error err;
    framed_end((const unsigned char *)"\0\0\1\0ab", 6, &err);
    assert_non_null(strstr(err.text, "2 of 256 bytes"));
    framed_end((const unsigned char *)"\0\0", 2, &err);
    assert_non_null(strstr(err.text, "2 of the 4 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(every_first_byte_has_its_protocol),
        DESCRIPTOR_TEST(whatever_begins_json_is_bare_json),
        DESCRIPTOR_TEST(a_chosen_protocol_is_the_one_whatever_the_byte),
        DESCRIPTOR_TEST(the_largest_limit_of_auto_is_still_a_frame),
        DESCRIPTOR_TEST(frames_end_where_the_contract_says),
        DESCRIPTOR_TEST(the_prefix_of_a_reply_is_big_endian),
        DESCRIPTOR_TEST(an_end_inside_says_how_far_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
