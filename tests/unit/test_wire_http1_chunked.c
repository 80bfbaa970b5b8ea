/*
 * http1_chunked: bodies that are fine, decoded in place (RFC 9112, section 7.1). Every row runs whole, in two at each
 * byte and in pieces, each time flush against a page that faults. What is refused: test_wire_http1_malformed.c.
 */
#include "descriptors.h"
#include "guard.h"

#include "wire/http1_chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 26 };

struct chunked_row {
    const char *name;
    const char *body;
    const char *content;
    const char *rest; /* the last bytes of `body`, which belong to the next request */
};

static const struct chunked_row chunked_rows[] = {
    {"no chunk", "0\r\n\r\n", "", ""},
    {"one chunk", "3\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"three chunks", "3\r\nabc\r\n1\r\nd\r\n2\r\nef\r\n0\r\n\r\n", "abcdef", ""},
    {"content that looks like chunks", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", ""},
    {"a size in capital letters", "A\r\nabcdefghij\r\n0\r\n\r\n", "abcdefghij", ""},
    {"a size in small letters", "a\r\nabcdefghij\r\n0\r\n\r\n", "abcdefghij", ""},
    {"a size of two digits", "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n", "abcdefghijklmnopqrstuvwxyz", ""},
    {"a size with leading zeros", "0000000000000003\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"a last chunk of many zeros", "3\r\nabc\r\n0000\r\n\r\n", "abc", ""},
    {"an extension", "3;a=b\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"an extension that looks like a size", "3;ffff\r\nabc\r\n0;1\r\n\r\n", "abc", ""},
    {"an extension in quotes with a tab", "3;a=\"b;\tc\"\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"an empty extension", "3;\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"a trailer field", "3\r\nabc\r\n0\r\nX-A: b\r\n\r\n", "abc", ""},
    {"two trailer fields, one without a value", "3\r\nabc\r\n0\r\nX-A:\r\nContent-Length: 9\r\n\r\n", "abc", ""},
    {"the next request follows", "3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "abc", "GET / HTTP/1.1\r\n"},
    {"a longer request follows a short body", "0\r\n\r\nGET / HTTP/1.1\r\n", "", "GET / HTTP/1.1\r\n"},
};

static void check_whole(const struct chunked_row *row, const struct http1_chunked *chunked, const unsigned char *body,
                        size_t size, size_t arrived)
{
    size_t content = strlen(row->content);
    size_t rest = arrived - (strlen(row->body) - strlen(row->rest));
    if (chunked->size != content || memcmp(body, row->content, content) != 0) {
        fail_msg("%s: the content is \"%.*s\"", row->name, (int)chunked->size, (const char *)body);
    }
    if (size != content + rest || memcmp(body + content, row->rest, rest) != 0) {
        fail_msg("%s: behind the content is \"%.*s\"", row->name, (int)(size - content), (const char *)body + content);
    }
}

/* Sends `first` bytes, then `piece` more each time, as a server would: behind what is decoded. */
static void run(const struct chunked_row *row, size_t first, size_t piece)
{
    size_t total = strlen(row->body);
    struct guard memory = guard_make(total);
    struct guard saved = guard_make(total);
    struct http1_chunked chunked = http1_chunked_make(LIMIT);
    struct http1_error err = {0};
    enum wire_step step = WIRE_MORE;
    size_t arrived = 0;
    size_t size = 0;
    while (step == WIRE_MORE) {
        assert_true(arrived < total);
        size_t more = arrived == 0 && first > 0 ? first : piece;
        more = total - arrived < more ? total - arrived : more;
        unsigned char *body = guard_tail(&memory, size + more);
        memcpy(body, saved.data, size);
        memcpy(body + size, row->body + arrived, more);
        arrived += more;
        size += more;
        step = http1_chunked_feed(&chunked, body, &size, &err);
        if (step == WIRE_BAD) {
            fail_msg("%s, %zu bytes and then %zu each: %u, %s", row->name, first, piece, err.status, err.text);
        }
        assert_int_equal(step == WIRE_DONE, arrived >= total - strlen(row->rest));
        if (step == WIRE_DONE) {
            check_whole(row, &chunked, body, size, arrived);
        } else {
            assert_int_equal(size, chunked.size);
        }
        memcpy(saved.data, body, size);
    }
    guard_free(&saved);
    guard_free(&memory);
}

static void chunks_are_decoded_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof chunked_rows / sizeof chunked_rows[0]; i++) {
        size_t size = strlen(chunked_rows[i].body);
        for (size_t first = 1; first <= size; first++) {
            run(&chunked_rows[i], first, size);
        }
        for (size_t piece = 1; piece < 8; piece++) {
            run(&chunked_rows[i], piece, piece);
        }
    }
}

static void feeding_nothing_changes_nothing(void **state)
{
    (void)state;
    struct guard nothing = guard_make(0);
    struct http1_chunked chunked = http1_chunked_make(LIMIT);
    struct http1_error err;
    size_t size = 0;
    assert_int_equal(http1_chunked_feed(&chunked, nothing.data, &size, &err), WIRE_MORE);
    assert_int_equal(size, 0);
    guard_free(&nothing);
}

static void the_limit_counts_content_alone(void **state)
{
    (void)state;
    unsigned char body[256];
    struct http1_error err;
    for (size_t limit = 5; limit <= 6; limit++) {
        const char *text = "3;extension=of-many-bytes\r\nabc\r\n3\r\ndef\r\n0\r\nX-A: b\r\n\r\n";
        struct http1_chunked chunked = http1_chunked_make(limit);
        size_t size = strlen(text);
        memcpy(body, text, size);
        enum wire_step step = http1_chunked_feed(&chunked, body, &size, &err);
        assert_int_equal(step, limit == 6 ? WIRE_DONE : WIRE_BAD);
        assert_true(step == WIRE_DONE || err.status == 413);
    }
}

/* A body of `before`, then 'a' as often as asked for, then `behind`. */
static enum wire_step feed_long(const char *before, size_t count, const char *behind)
{
    struct guard body = guard_make(strlen(before) + count + strlen(behind));
    struct http1_chunked chunked = http1_chunked_make(LIMIT);
    struct http1_error err;
    size_t size = body.size;
    memset(body.data, 'a', size);
    memcpy(body.data, before, strlen(before));
    memcpy(body.data + size - strlen(behind), behind, strlen(behind));
    enum wire_step step = http1_chunked_feed(&chunked, body.data, &size, &err);
    guard_free(&body);
    return step;
}

static void extensions_and_trailers_may_be_as_large_as_their_limits(void **state)
{
    (void)state;
    assert_int_equal(feed_long("1;", HTTP1_EXTENSIONS_MAX, "\r\nx\r\n0\r\n\r\n"), WIRE_DONE);
    assert_int_equal(feed_long("1;", HTTP1_EXTENSIONS_MAX + 1, "\r\nx\r\n0\r\n\r\n"), WIRE_BAD);
    assert_int_equal(feed_long("1;b\r\nx\r\n0;", HTTP1_EXTENSIONS_MAX - 1, "\r\n\r\n"), WIRE_DONE);
    assert_int_equal(feed_long("1;b\r\nx\r\n0;", HTTP1_EXTENSIONS_MAX, "\r\n\r\n"), WIRE_BAD);
    size_t around = strlen("X:\r"); /* of the trailer line, beside its value */
    assert_int_equal(feed_long("0\r\nX:", HTTP1_TRAILERS_MAX - around, "\r\n\r\n"), WIRE_DONE);
    assert_int_equal(feed_long("0\r\nX:", HTTP1_TRAILERS_MAX - around + 1, "\r\n\r\n"), WIRE_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(chunks_are_decoded_however_they_are_cut),
        DESCRIPTOR_TEST(feeding_nothing_changes_nothing),
        DESCRIPTOR_TEST(the_limit_counts_content_alone),
        DESCRIPTOR_TEST(extensions_and_trailers_may_be_as_large_as_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
