/*
 * http1: every request of tests/data/http_malformed.py is refused with its status, by the parser of the head or by the
 * decoder of the chunks, however it was cut; each time flush against a page that faults.
 */
#include "descriptors.h"
#include "guard.h"
#include "malformed.h"

#include "wire/http1_chunked.h"
#include "wire/http1_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The chunks that have arrived between `from` and `to`, decoded behind `content`, which holds what was decoded before.
 */
static enum wire_step feed_chunks(struct http1_chunked *chunked, const struct guard *memory, unsigned char *content,
                                  const unsigned char *from, const unsigned char *to, struct http1_error *err)
{
    size_t size = chunked->size + (size_t)(to - from);
    unsigned char *body = guard_tail(memory, size);
    memcpy(body, content, chunked->size);
    memcpy(body + chunked->size, from, (size_t)(to - from));
    enum wire_step step = http1_chunked_feed(chunked, body, &size, err);
    memcpy(content, body, chunked->size);
    return step;
}

/* Sends `first` bytes, then `piece` more each time. */
static enum wire_step send_in_pieces(const struct malformed *row, size_t first, size_t piece, struct http1_error *err)
{
    struct guard memory = guard_make(row->size);
    struct guard content = guard_make(row->size);
    struct http1_request request = http1_request_make(malformed_limit);
    struct http1_chunked chunked = http1_chunked_make(malformed_limit);
    enum wire_step step = WIRE_MORE;
    size_t arrived = 0;
    size_t taken = 0; /* of the body */
    bool in_body = false;
    while (step == WIRE_MORE && arrived < row->size) {
        size_t more = arrived == 0 && first > 0 ? first : piece;
        arrived = row->size - arrived < more ? row->size : arrived + more;
        if (!in_body) {
            unsigned char *message = guard_tail(&memory, arrived);
            memcpy(message, row->bytes, arrived);
            step = http1_request_feed(&request, message, arrived, err);
            in_body = step == WIRE_DONE && request.body == HTTP1_BODY_CHUNKED;
            taken = request.head_size;
        }
        if (in_body) {
            step = feed_chunks(&chunked, &memory, content.data, row->bytes + taken, row->bytes + arrived, err);
            taken = arrived;
        }
    }
    guard_free(&content);
    guard_free(&memory);
    return step;
}

static void check(const struct malformed *row, size_t first, size_t piece)
{
    struct http1_error err = {0};
    enum wire_step step = send_in_pieces(row, first, piece, &err);
    if (step != WIRE_BAD) {
        fail_msg("%s, %zu bytes and then %zu each: %d, not refused", row->name, first, piece, (int)step);
    }
    if (err.status != row->status) {
        fail_msg("%s, %zu bytes and then %zu each: %u (%s) instead of %u", row->name, first, piece, err.status,
                 err.text, row->status);
    }
    if (err.text == NULL || err.text[0] == '\0' || err.offset > row->size) {
        fail_msg("%s: no text, or a place behind the end", row->name);
    }
}

static void malformed_requests_are_refused_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < malformed_count; i++) {
        check(&malformed_rows[i], malformed_rows[i].size, 1);
    }
}

static void malformed_requests_are_refused_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < malformed_count; i++) {
        check(&malformed_rows[i], 1, 1);
    }
}

/* Long rows not at each of their bytes. */
static void malformed_requests_are_refused_in_two(void **state)
{
    (void)state;
    for (size_t i = 0; i < malformed_count; i++) {
        const struct malformed *row = &malformed_rows[i];
        for (size_t first = 1; first < row->size; first += 1 + row->size / 512) {
            check(row, first, row->size);
        }
    }
}

static void there_are_enough_of_them(void **state)
{
    (void)state;
    assert_true(malformed_count >= 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(there_are_enough_of_them),
        DESCRIPTOR_TEST(malformed_requests_are_refused_whole),
        DESCRIPTOR_TEST(malformed_requests_are_refused_byte_by_byte),
        DESCRIPTOR_TEST(malformed_requests_are_refused_in_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
