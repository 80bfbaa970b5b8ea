/* writer: documents of every shape are valid JSON, whatever the texts in them; the first failure sticks. */
#include "json_check.h"

#include "json/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void write_all(struct writer *writer)
{
    writer_open(writer, '{');
    writer_key(writer, "empty");
    writer_open(writer, '{');
    writer_close(writer, '}');
    writer_key(writer, "list");
    writer_open(writer, '[');
    writer_text(writer, view_of("a \"b\"\n"));
    writer_open(writer, '[');
    writer_close(writer, ']');
    writer_text(writer, view_of("true"));
    writer_close(writer, ']');
    writer_key(writer, "count");
    writer_token(writer, "7");
    writer_key(writer, "end");
    writer_text(writer, view_of(""));
    writer_close(writer, '}');
}

static const char all[] = "{\"empty\":{},\"list\":[\"a \\\"b\\\"\\n\",[],\"true\"],\"count\":7,\"end\":\"\"}";

static void commas_stand_where_they_belong(void **state)
{
    (void)state;
    struct buffer out = buffer_make(4096);
    struct writer writer = writer_make(&out);
    write_all(&writer);
    assert_int_equal(writer.status, BUFFER_OK);
    assert_int_equal(out.size, sizeof all - 1);
    assert_memory_equal(out.data, all, out.size);
    assert_true(json_check(out.data, out.size));
    buffer_done(&out);
}

static void the_first_failure_sticks(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < sizeof all - 1; limit++) {
        struct buffer out = buffer_make(limit);
        struct writer writer = writer_make(&out);
        write_all(&writer);
        assert_int_equal(writer.status, BUFFER_LIMIT);
        assert_true(out.size <= limit);
        if (out.size > 0) {
            assert_memory_equal(out.data, all, out.size);
        }
        buffer_done(&out);
    }
}

static uint32_t random_next(uint32_t *seed) { return (*seed = *seed * 1664525 + 1013904223) >> 16; }

/* Any bytes, of lengths around the portion in which texts are written. */
static void any_bytes_make_a_valid_string(void **state)
{
    (void)state;
    static const char pieces[][5] = {
        "a", "\"", "\\", "\x01", "\x80", "\xC3", "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80", "\xFF"};
    uint32_t seed = 1;
    char text[4200];
    for (int round = 0; round < 2000; round++) {
        size_t size = 0, wanted = random_next(&seed) % 4096;
        uint32_t kinds = 1 + random_next(&seed) % 10;
        while (size < wanted) {
            const char *piece = pieces[random_next(&seed) % kinds];
            memcpy(text + size, piece, strlen(piece));
            size += strlen(piece);
        }
        struct buffer out = buffer_make(1 << 20);
        assert_int_equal(writer_string(&out, (struct view){text, size}), BUFFER_OK);
        assert_true(json_check(out.data, out.size));
        buffer_done(&out);
    }
}

static void no_character_is_torn_between_portions(void **state)
{
    (void)state;
    enum { SIZE = 3000 };
    char text[SIZE];
    for (size_t first = 0; first < 4; first++) {
        memset(text, 'x', first);
        for (size_t i = first; i + 4 <= SIZE; i += 4) {
            memcpy(text + i, "\xF0\x9F\x98\x80", 4);
        }
        size_t size = first + (SIZE - first) / 4 * 4;
        struct buffer out = buffer_make(1 << 20);
        assert_int_equal(writer_string(&out, (struct view){text, size}), BUFFER_OK);
        assert_int_equal(out.size, size + 2);
        assert_memory_equal(out.data + 1, text, size);
        buffer_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_stand_where_they_belong),
        cmocka_unit_test(the_first_failure_sticks),
        cmocka_unit_test(any_bytes_make_a_valid_string),
        cmocka_unit_test(no_character_is_torn_between_portions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
