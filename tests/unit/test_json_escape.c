/* escape and base64: every form of text agrees with one character after the other, reads nothing beyond its end and
 * writes nothing beyond the room that is asked for. */
#include "guard.h"

#include "json/base64.h"
#include "json/escape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTH_MAX = 150 };

/* The promise, in the plainest words: what stands for one code point. */
static size_t plain_put(char *out, uint32_t code)
{
    static const char letters[] = "\"\"\\\\\bb\tt\nn\ff\rr";
    for (const char *pair = letters; *pair != '\0'; pair += 2) {
        if (code == (unsigned char)pair[0]) {
            return (size_t)sprintf(out, "\\%c", pair[1]);
        }
    }
    if (code < 0x20 || (code >= 0xD800 && code < 0xE000)) {
        return (size_t)sprintf(out, "\\u%04x", (unsigned)code);
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; code >>= 6) {
        out[i] = (char)(0x80 | (code & 0x3F));
    }
    out[0] = (char)(0xF00 >> size | code);
    return size;
}

static size_t plain(char *out, const uint32_t *codes, size_t size)
{
    size_t done = 0;
    for (size_t i = 0; i < size; i++) {
        done += plain_put(out + done, codes[i]);
    }
    return done;
}

/* The text in units of `width` bytes, flush against a page that faults; so is the room for the result. */
static void check_width(const uint32_t *codes, size_t size, unsigned width)
{
    static char expected[6 * LENGTH_MAX];
    struct guard text = guard_make(size * width), out = guard_make(ESCAPE_ROOM(size));
    for (size_t i = 0; i < size; i++) {
        uint16_t two = (uint16_t)codes[i];
        uint8_t one = (uint8_t)codes[i];
        const void *unit = width == 1 ? (const void *)&one : width == 2 ? (const void *)&two : &codes[i];
        memcpy(text.data + i * width, unit, width);
    }
    unsigned char *end = width == 1   ? escape_latin1(out.data, text.data, size)
                         : width == 2 ? escape_ucs2(out.data, (const uint16_t *)(void *)text.data, size)
                                      : escape_ucs4(out.data, (const uint32_t *)(void *)text.data, size);
    size_t expected_size = plain(expected, codes, size);
    if ((size_t)(end - out.data) != expected_size || memcmp(out.data, expected, expected_size) != 0) {
        fail_msg("%zu characters of %u bytes: %.*s, not %.*s", size, width, (int)(end - out.data), out.data,
                 (int)expected_size, expected);
    }
    guard_free(&text);
    guard_free(&out);
}

static bool is_ascii(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)bytes[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* The same text as bytes: of which nothing is known, and as ASCII if it is that, and in front of it something that may
 * be read. */
static void check_bytes(const char *bytes, size_t size, const char *expected, size_t expected_size)
{
    struct guard text = guard_make(ESCAPE_FRONT + size), out = guard_make(ESCAPE_ROOM(size));
    const unsigned char *copy = text.data + ESCAPE_FRONT;
    memset(text.data, '"', ESCAPE_FRONT);
    memcpy(text.data + ESCAPE_FRONT, bytes, size);
    unsigned char *end = escape_untrusted(out.data, copy, size);
    assert_int_equal(end - out.data, expected_size);
    assert_memory_equal(out.data, expected, expected_size);
    if (is_ascii(bytes, size)) {
        end = escape_ascii(out.data, copy, size);
        assert_int_equal(end - out.data, expected_size);
        assert_memory_equal(out.data, expected, expected_size);
        for (int round = 0; round < 2; round++) { /* the best for this processor, and that for any */
            struct guard copied = guard_make(size + BLOCK_SIZE);
            size_t plain_size =
                round == 0 ? escape_copy_plain(copied.data, copy, size) : escape_copy_blocks(copied.data, copy, size);
            assert_true(size == expected_size ? plain_size == size : plain_size < size && expected[plain_size] == '\\');
            assert_memory_equal(copied.data, bytes, plain_size);
            guard_free(&copied);
        }
    }
    guard_free(&text);
    guard_free(&out);
}

/* UTF-8 of the codes, which are no surrogates. */
static size_t utf8(char *out, const uint32_t *codes, size_t size)
{
    size_t done = 0;
    for (size_t i = 0; i < size; i++) {
        if (codes[i] < 0x80) {
            out[done++] = (char)codes[i];
        } else {
            done += plain_put(out + done, codes[i]);
        }
    }
    return done;
}

static void check(const uint32_t *codes, size_t size)
{
    uint32_t widest = 0, surrogates = 0;
    for (size_t i = 0; i < size; i++) {
        widest = codes[i] > widest ? codes[i] : widest;
        surrogates += codes[i] >= 0xD800 && codes[i] < 0xE000;
    }
    check_width(codes, size, 4);
    if (widest <= 0xFFFF) {
        check_width(codes, size, 2);
    }
    if (widest <= 0xFF) {
        check_width(codes, size, 1);
    }
    if (surrogates == 0) {
        static char bytes[4 * LENGTH_MAX], expected[6 * LENGTH_MAX];
        size_t bytes_size = utf8(bytes, codes, size);
        check_bytes(bytes, bytes_size, expected, plain(expected, codes, size));
    }
}

static const uint32_t interesting[] = {0,      1,      8,      9,      10,      12,      13,      0x1F,   ' ',
                                       '!',    '"',    '#',    '[',    '\\',    ']',     0x7E,    0x7F,   0x80,
                                       0xFF,   0x100,  0x7FF,  0x800,  0x2028,  0xD7FF,  0xD800,  0xDBFF, 0xDC00,
                                       0xDFFF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x1F600, 0x10FFFF};
enum { INTERESTING = sizeof interesting / sizeof *interesting };

static void every_character_at_every_place(void **state)
{
    (void)state;
    static const uint32_t around[] = {'a', 0xE9, 0x416, 0x4E2D, 0x1F600};
    uint32_t codes[LENGTH_MAX];
    for (size_t size = 1; size <= 36; size++) {
        const size_t step = size > 20 ? 2 : 1;
        for (size_t place = 0; place < size; place++) {
            for (size_t i = 0; i < INTERESTING; i++) {
                for (size_t j = 0; j < sizeof around / sizeof *around; j += step) {
                    for (size_t k = 0; k < size; k++) {
                        codes[k] = around[j];
                    }
                    codes[place] = interesting[i];
                    check(codes, size);
                }
            }
        }
    }
}

static uint32_t random_next(uint32_t *seed) { return (*seed = *seed * 1664525 + 1013904223) >> 8; }

static void random_mixtures(void **state)
{
    (void)state;
    uint32_t seed = 1, codes[LENGTH_MAX];
    for (int round = 0; round < 20000; round++) {
        size_t size = random_next(&seed) % (LENGTH_MAX + 1);
        uint32_t limit = round % 3 == 0 ? 0x7F : round % 3 == 1 ? 0x7FF : 0x10FFFF, rare = random_next(&seed) % 60;
        for (size_t i = 0; i < size; i++) {
            uint32_t code = interesting[random_next(&seed) % INTERESTING];
            codes[i] = random_next(&seed) % 64 < rare || code > limit ? 'a' + random_next(&seed) % 26 : code;
        }
        check(codes, size);
    }
    check(codes, 0);
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes, *expected;
    } rows[] = {
        {"a continuation byte alone", "a\x80z", "a\xEF\xBF\xBDz"},
        {"a lead byte at the end", "a\xC3", "a\xEF\xBF\xBD"},
        {"a lead byte before ASCII",
         "\xE2\x82"
         "a",
         "\xEF\xBF\xBD\xEF\xBF\xBD"
         "a"},
        {"an overlong slash", "\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"a surrogate", "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"a byte that is never used", "\xFF\"\n", "\xEF\xBF\xBD\\\"\\n"},
        {"a wrong byte behind a block", "0123456789abcdef0123456789\xFE", "0123456789abcdef0123456789\xEF\xBF\xBD"},
        {"what is good stays", "\xF0\x9F\x98\x80\xC3\xA9", "\xF0\x9F\x98\x80\xC3\xA9"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size = strlen(rows[i].bytes);
        struct guard text = guard_copy(rows[i].bytes, size), out = guard_make(ESCAPE_ROOM(size));
        unsigned char *end = escape_untrusted(out.data, text.data, size);
        if ((size_t)(end - out.data) != strlen(rows[i].expected) ||
            memcmp(out.data, rows[i].expected, strlen(rows[i].expected)) != 0) {
            fail_msg("%s: %.*s", rows[i].name, (int)(end - out.data), out.data);
        }
        guard_free(&text);
        guard_free(&out);
    }
}

static void base64_rows_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"},
                                          {"\xFB\xFF\xBE", "+/++"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size = strlen(rows[i][0]), out_size;
        assert_true(base64_size(size, &out_size));
        assert_int_equal(out_size, strlen(rows[i][1]));
        struct guard bytes = guard_copy(rows[i][0], size), out = guard_make(out_size);
        assert_ptr_equal(base64_write(out.data, bytes.data, size), out.data + out_size);
        assert_memory_equal(out.data, rows[i][1], out_size);
        guard_free(&bytes);
        guard_free(&out);
    }
    size_t ignored;
    assert_false(base64_size(SIZE_MAX, &ignored));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_at_every_place),
        cmocka_unit_test(random_mixtures),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(base64_rows_of_rfc_4648),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
