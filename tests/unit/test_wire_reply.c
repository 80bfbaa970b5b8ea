/* reply: exactly the documented objects, valid JSON whatever the text holds, capped at a character's border. */
#include "descriptors.h"
#include "guard.h"
#include "json_check.h"

#include "wire/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BIG = 1 << 20 };

static void assert_reply(const struct buffer *reply, const char *expected)
{
    if (reply->size != strlen(expected) || memcmp(reply->data, expected, reply->size) != 0) {
        fail_msg("%.*s, not %s", (int)reply->size, (const char *)reply->data, expected);
    }
}

static void success_wraps_the_result(void **state)
{
    (void)state;
    struct buffer reply = buffer_make(BIG);
    assert_int_equal(reply_success_begin(&reply), BUFFER_OK);
    assert_int_equal(buffer_append(&reply, "[1,2]", 5), BUFFER_OK);
    assert_int_equal(reply_success_end(&reply), BUFFER_OK);
    assert_reply(&reply, "{\"status\":\"ok\",\"result\":[1,2]}");
    buffer_done(&reply);
}

struct reply_row {
    enum error_category category;
    const char *expected;
};

static const struct reply_row reply_rows[] = {
    {ERR_VALIDATION, "{\"error\":\"validation_error\",\"message\":\"why\"}"},
    {ERR_PROCESSING, "{\"error\":\"processing_error\",\"message\":\"why\",\"type\":\"pkg.Bad\"}"},
    {ERR_TOO_LARGE, "{\"error\":\"message_too_large\",\"message\":\"why\"}"},
    {ERR_EMPTY, "{\"error\":\"empty_message\",\"message\":\"why\"}"},
    {ERR_ENCODING, "{\"error\":\"invalid_encoding\",\"message\":\"why\"}"},
    {ERR_JSON, "{\"error\":\"invalid_json\",\"message\":\"why\"}"},
    {ERR_CONNECTION, "{\"error\":\"connection_error\",\"message\":\"why\"}"},
    {ERR_SERVER, "{\"error\":\"server_error\",\"message\":\"why\"}"},
    {ERR_MEMORY, "{\"error\":\"out_of_memory\",\"message\":\"why\"}"},
};

static void each_category_has_its_object_and_only_one_has_a_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reply_rows / sizeof reply_rows[0]; i++) {
        struct buffer reply = buffer_make(BIG);
        assert_int_equal(reply_error(&reply, reply_rows[i].category, view_of("why"), view_of("pkg.Bad")), BUFFER_OK);
        assert_reply(&reply, reply_rows[i].expected);
        buffer_done(&reply);
    }
}

static void an_error_replaces_a_reply_that_was_begun(void **state)
{
    (void)state;
    struct buffer reply = buffer_make(BIG);
    assert_int_equal(reply_success_begin(&reply), BUFFER_OK);
    assert_int_equal(buffer_append(&reply, "[1,2", 4), BUFFER_OK);
    assert_int_equal(reply_error(&reply, ERR_PROCESSING, view_of("a set"), view_of("TypeError")), BUFFER_OK);
    assert_reply(&reply, "{\"error\":\"processing_error\",\"message\":\"a set\",\"type\":\"TypeError\"}");
    buffer_done(&reply);
}

struct text_row {
    const char *name;
    const char *text;
    size_t size;
    const char *decoded; /* what a client reads */
};

#define TEXT(bytes) bytes, sizeof bytes - 1

static const struct text_row text_rows[] = {
    {"an empty text", TEXT(""), ""},
    {"plain text", TEXT("plain"), "plain"},
    {"quotes and backslashes", TEXT("\"a\" \\ b"), "\"a\" \\ b"},
    {"control characters", TEXT("\x01\x02\b\t\n\v\f\r\x1F"), "\x01\x02\b\t\n\v\f\r\x1F"},
    {"an end of line and a forged member", TEXT("\n\",\"type\":\"x"), "\n\",\"type\":\"x"},
    {"characters of every size", TEXT("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
     "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
    {"a stray byte is replaced",
     TEXT("a\xFF"
          "b"),
     "a\xEF\xBF\xBD"
     "b"},
    {"a stray continuation byte is replaced",
     TEXT("a\x80"
          "b"),
     "a\xEF\xBF\xBD"
     "b"},
};

static void any_text_makes_a_valid_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof text_rows / sizeof text_rows[0]; i++) {
        const struct text_row *row = &text_rows[i];
        struct guard guard = guard_copy(row->text, row->size);
        struct view text = {(const char *)guard.data, guard.size};
        struct buffer reply = buffer_make(BIG);
        assert_int_equal(reply_error(&reply, ERR_PROCESSING, text, text), BUFFER_OK);
        static const char *const keys[] = {"message", "type"};
        for (size_t k = 0; k < 2; k++) {
            char value[256];
            size_t size;
            if (!json_check_member(reply.data, reply.size, keys[k], value, sizeof value, &size) ||
                strcmp(value, row->decoded) != 0) {
                fail_msg("%s: %.*s", row->name, (int)reply.size, (const char *)reply.data);
            }
        }
        buffer_done(&reply);
        guard_free(&guard);
    }
}

static void a_nul_inside_the_text_does_not_end_it(void **state)
{
    (void)state;
    struct buffer reply = buffer_make(BIG);
    char value[16];
    size_t size;
    assert_int_equal(reply_error(&reply, ERR_SERVER, (struct view){"a\0b", 3}, view_of("")), BUFFER_OK);
    assert_true(json_check_member(reply.data, reply.size, "message", value, sizeof value, &size));
    assert_int_equal(size, 3);
    assert_memory_equal(value, "a\0b", 3);
    buffer_done(&reply);
}

static void malformed_text_of_every_kind_makes_a_valid_reply(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0x00, 0x22, 0x5C, 0x7F, 0x80, 0xBF, 0xC0,
                                          0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xFF};
    struct guard guard = guard_make(4);
    for (size_t i = 0; i < 14 * 14 * 14 * 14; i++) {
        for (size_t k = 0, rest = i; k < 4; k++, rest /= 14) {
            guard.data[k] = bytes[rest % 14];
        }
        struct buffer reply = buffer_make(BIG);
        struct view text = {(const char *)guard.data, 4};
        assert_int_equal(reply_error(&reply, ERR_PROCESSING, text, text), BUFFER_OK);
        if (!json_check(reply.data, reply.size)) {
            fail_msg("%02x %02x %02x %02x", guard.data[0], guard.data[1], guard.data[2], guard.data[3]);
        }
        buffer_done(&reply);
    }
    guard_free(&guard);
}

/* Texts of `unit` around and far beyond the cap, behind 0 to 3 ASCII characters. */
static void texts_are_capped_at_a_character(void **state)
{
    (void)state;
    static const char *const units[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    static const size_t lengths[] = {REPLY_TEXT_MAX - 1, REPLY_TEXT_MAX, REPLY_TEXT_MAX + 1, 10 * REPLY_TEXT_MAX};
    static char value[REPLY_TEXT_MAX + 16];
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t offset = 0; offset < 4; offset++) {
            for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                struct guard guard = guard_make(offset + (lengths[i] - offset) / (kind + 1) * (kind + 1));
                memset(guard.data, 'x', offset);
                for (size_t at = offset; at < guard.size; at += kind + 1) {
                    memcpy(guard.data + at, units[kind], kind + 1);
                }
                struct buffer reply = buffer_make(BIG);
                struct view text = {(const char *)guard.data, guard.size};
                assert_int_equal(reply_error(&reply, ERR_SERVER, text, view_of("")), BUFFER_OK);
                size_t size = 0;
                assert_true(json_check_member(reply.data, reply.size, "message", value, sizeof value, &size));
                size_t least = guard.size < REPLY_TEXT_MAX ? guard.size : REPLY_TEXT_MAX - kind;
                assert_in_range(size, least, REPLY_TEXT_MAX);
                assert_memory_equal(value, guard.data, size);
                buffer_done(&reply);
                guard_free(&guard);
            }
        }
    }
}

static void a_limit_that_is_too_small_is_said(void **state)
{
    (void)state;
    static const char whole[] = "{\"error\":\"processing_error\",\"message\":\"a\\nb\",\"type\":\"T\"}";
    for (size_t limit = 0; limit < sizeof whole + 4; limit++) {
        struct buffer reply = buffer_make(limit);
        enum buffer_status status = reply_error(&reply, ERR_PROCESSING, view_of("a\nb"), view_of("T"));
        assert_true(reply.capacity <= limit);
        if (limit + 8 < sizeof whole) {
            assert_int_equal(status, BUFFER_LIMIT);
        }
        buffer_done(&reply);
    }
    struct buffer none = buffer_make(0);
    assert_int_equal(reply_success_begin(&none), BUFFER_LIMIT);
    assert_int_equal(reply_success_end(&none), BUFFER_LIMIT);
}

struct class_row {
    enum error_category category;
    const char *framed;
    const char *http;
};

static const struct class_row class_rows[] = {
    {ERR_JSON, "\"type\":\"JSONDecodeError\"", "\"type\":\"json.decoder.JSONDecodeError\""},
    {ERR_TOO_LARGE, "\"type\":\"ValueError\"", "\"type\":\"ValueError\""},
    {ERR_PROCESSING, "\"type\":\"WorkerCrashed\"", "\"type\":\"WorkerCrashed\""},
};

static void the_length_prefix_has_the_class_alone_and_http_its_qualified_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof class_rows / sizeof class_rows[0]; i++) {
        const struct class_row *row = &class_rows[i];
        struct error err;
        error_set(&err, row->category, 0, "why");
        if (row->category == ERR_PROCESSING) {
            error_set_processing(&err, "WorkerCrashed", "why");
        }
        for (int http = 0; http < 2; http++) {
            struct buffer reply = buffer_make(BIG);
            assert_int_equal(reply_failure(&reply, http ? PROTOCOL_HTTP : PROTOCOL_FRAMED, &err), BUFFER_OK);
            const char *wanted = http ? row->http : row->framed;
            if (memmem(reply.data, reply.size, wanted, strlen(wanted)) == NULL) {
                fail_msg("%s: %.*s", wanted, (int)reply.size, (const char *)reply.data);
            }
            buffer_done(&reply);
        }
    }
}

static void without_memory_there_is_still_a_reply(void **state)
{
    (void)state;
    struct view reply = reply_out_of_memory(PROTOCOL_RAW);
    char value[256];
    size_t size;
    assert_true(json_check_member(reply.data, reply.size, "error", value, sizeof value, &size));
    assert_string_equal(value, "out_of_memory");
    assert_true(json_check_member(reply.data, reply.size, "message", value, sizeof value, &size));
    assert_false(json_check_member(reply.data, reply.size, "type", value, sizeof value, &size));
    assert_ptr_equal(reply_out_of_memory(PROTOCOL_RAW).data, reply.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(success_wraps_the_result),
        DESCRIPTOR_TEST(each_category_has_its_object_and_only_one_has_a_type),
        DESCRIPTOR_TEST(an_error_replaces_a_reply_that_was_begun),
        DESCRIPTOR_TEST(any_text_makes_a_valid_reply),
        DESCRIPTOR_TEST(a_nul_inside_the_text_does_not_end_it),
        DESCRIPTOR_TEST(malformed_text_of_every_kind_makes_a_valid_reply),
        DESCRIPTOR_TEST(texts_are_capped_at_a_character),
        DESCRIPTOR_TEST(a_limit_that_is_too_small_is_said),
        DESCRIPTOR_TEST(the_length_prefix_has_the_class_alone_and_http_its_qualified_name),
        DESCRIPTOR_TEST(without_memory_there_is_still_a_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
