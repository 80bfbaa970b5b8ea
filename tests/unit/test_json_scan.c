/* scan: each row whole, byte by byte, and cut in two at every place, always flush against a page that faults. */
#include "guard.h"

#include "json/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *name;
    const char *text;
    enum scan_step step;
    size_t end; /* where DONE and BAD point */
};

/* Sixty-four bytes that mean nothing, to push what matters over the border of a block. */
#define PAD16 "                "
#define PAD64 PAD16 PAD16 PAD16 PAD16
#define BACKSLASHES63                                                                                                  \
    "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\" \
    "\\\\\\\\\\\\\\\\\\"

static const struct row rows[] = {
    {"no byte is more", "", SCAN_MORE, 0},
    {"white space is more", " \t\r\n", SCAN_MORE, 0},
    {"a letter starts nothing", "x", SCAN_BAD, 0},
    {"a bad byte after white space is found", "  ]", SCAN_BAD, 2},
    {"a byte order mark starts nothing", "\xEF\xBB\xBF{}", SCAN_BAD, 0},
    {"a vertical tab is no white space", "\v1", SCAN_BAD, 0},
    {"a plus starts no number", "+1", SCAN_BAD, 0},
    {"a point starts no number", ".5", SCAN_BAD, 0},
    {"an empty object ends at its bracket", "{}", SCAN_DONE, 2},
    {"an empty array ends at its bracket", "[]", SCAN_DONE, 2},
    {"white space before counts", " \n{} ", SCAN_DONE, 4},
    {"what follows does not count", "{}{}", SCAN_DONE, 2},
    {"an open object is more", "{\"a\":1", SCAN_MORE, 0},
    {"an inner bracket does not end it", "{\"a\":[]", SCAN_MORE, 0},
    {"nested brackets end at the outermost", "[[[]],{\"a\":{}}] []", SCAN_DONE, 15},
    {"brackets are counted, not matched", "{]", SCAN_DONE, 2},
    {"a bracket inside a string does not count", "[\"]\"]", SCAN_DONE, 5},
    {"an open string hides brackets", "[\"]]]]", SCAN_MORE, 0},
    {"an escaped quote does not end a string", "[\"\\\"]\"]", SCAN_DONE, 7},
    {"an escaped backslash before a quote ends it", "[\"\\\\\"]\"", SCAN_DONE, 6},
    {"three backslashes escape the quote", "[\"\\\\\\\"]\"]", SCAN_DONE, 9},
    {"an escaped quote outside of a string opens none", "[\\\"]", SCAN_DONE, 4},
    {"an escaped bracket still counts", "[\\]", SCAN_DONE, 3},
    {"a string ends at its quote", "\"ab\" ", SCAN_DONE, 4},
    {"an empty string ends at its quote", "\"\"", SCAN_DONE, 2},
    {"a string with an escaped quote goes on", "\"ab\\\"", SCAN_MORE, 0},
    {"a string with an escaped backslash ends", "\"ab\\\\\"", SCAN_DONE, 6},
    {"a long string ends at its quote", "\"" PAD64 PAD64 "[{\"", SCAN_DONE, 132},
    {"a string may hold control characters and bad UTF-8", "\"\x01\xFF\"", SCAN_DONE, 4},
    {"digits alone are more", "123", SCAN_MORE, 0},
    {"a number ends before a space", "123 ", SCAN_DONE, 3},
    {"a letter belongs to no number", "-1.5e+7x", SCAN_BAD, 7},
    {"a bracket belongs to no number", "1]", SCAN_BAD, 1},
    {"a minus alone is more", "-", SCAN_MORE, 0},
    {"true is complete with its last letter", "true", SCAN_DONE, 4},
    {"false is complete with its last letter", "falsefalse", SCAN_DONE, 5},
    {"null is complete with its last letter", " null", SCAN_DONE, 5},
    {"half a literal is more", "fals", SCAN_MORE, 0},
    {"a wrong letter belongs to no literal", "nulL", SCAN_BAD, 3},
    {"a space belongs to no literal", "t rue", SCAN_BAD, 1},
    {"a value of exactly one block", "[" PAD16 PAD16 PAD16 "              ]", SCAN_DONE, 64},
    {"a bracket as the first byte of a block", "[" PAD16 PAD16 PAD16 "               ]", SCAN_DONE, 65},
    {"a quote escaped over the border of blocks", "[\"" PAD16 PAD16 PAD16 "             \\\"]\"]", SCAN_DONE, 68},
    {"a block full of backslashes, even", "[\"" BACKSLASHES63 "\\\"]", SCAN_DONE, 0},
    {"the end in the third block", "[" PAD64 PAD64 "] ]", SCAN_DONE, 130},
    {"a string over three blocks", "[\"" PAD64 "]" PAD64 "\"]]", SCAN_DONE, 133},
};

/* The promise, in the plainest words: a byte at a time. */
static enum scan_step oracle(const unsigned char *bytes, size_t size, size_t *ret_end)
{
    size_t at = 0, depth = 0;
    while (at < size && memchr(" \t\r\n", bytes[at], 4) != NULL) {
        at++;
    }
    if (at == size) {
        return SCAN_MORE;
    }
    *ret_end = at;
    if (memchr("[{\"", bytes[at], 3) == NULL) {
        const char *word = bytes[at] == 't' ? "true" : bytes[at] == 'f' ? "false" : bytes[at] == 'n' ? "null" : NULL;
        if (word == NULL) {
            if (memchr("-0123456789", bytes[at], 11) == NULL) {
                return SCAN_BAD;
            }
            while (at < size && memchr("+-.0123456789eE", bytes[at], 15) != NULL) {
                at++;
            }
            *ret_end = at;
            return at == size ? SCAN_MORE : memchr(" \t\r\n", bytes[at], 4) != NULL ? SCAN_DONE : SCAN_BAD;
        }
        for (; at < size && *word != '\0' && bytes[at] == (unsigned char)*word; word++) {
            at++;
        }
        *ret_end = at;
        return *word == '\0' ? SCAN_DONE : at < size ? SCAN_BAD : SCAN_MORE;
    }
    bool in_string = false, escaped = false;
    for (; at < size; at++) {
        bool quote = bytes[at] == '"' && !escaped;
        escaped = bytes[at] == '\\' && !escaped;
        in_string ^= quote;
        if (!in_string && memchr("[{", bytes[at], 2) != NULL) {
            depth++;
        }
        if (!in_string && memchr("]}", bytes[at], 2) != NULL) {
            depth--;
        }
        if (depth == 0 && !in_string) {
            *ret_end = at + 1;
            return SCAN_DONE;
        }
    }
    return SCAN_MORE;
}

/* Feeds `bytes` in chunks of at most `chunk` bytes, each flush against the page. */
static enum scan_step feed(const unsigned char *bytes, size_t size, size_t chunk, size_t *ret_end)
{
    struct scan scan = scan_make();
    struct guard guard = guard_make(chunk < size ? chunk : size);
    enum scan_step step = SCAN_MORE;
    for (size_t at = 0; at < size && step == SCAN_MORE; at += chunk) {
        size_t part = size - at < chunk ? size - at : chunk, end = SIZE_MAX;
        unsigned char *copy = guard_tail(&guard, part);
        memcpy(copy, bytes + at, part);
        step = scan_feed(&scan, copy, part, &end);
        if (step != SCAN_MORE) {
            assert_true(end <= part);
            *ret_end = at + end;
        } else {
            assert_int_equal(end, SIZE_MAX);
        }
    }
    guard_free(&guard);
    return step;
}

static void check_chunks(const char *name, const unsigned char *bytes, size_t size, size_t chunk)
{
    size_t expected_end = 0, end = 0;
    enum scan_step expected = oracle(bytes, size, &expected_end);
    enum scan_step step = feed(bytes, size, chunk, &end);
    if (step != expected || (step != SCAN_MORE && end != expected_end)) {
        fail_msg("%s, in chunks of %zu: step %d at %zu instead of %d at %zu", name, chunk, (int)step, end,
                 (int)expected, expected_end);
    }
}

static void rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const unsigned char *bytes = (const unsigned char *)rows[i].text;
        size_t size = strlen(rows[i].text), end = 0;
        enum scan_step step = oracle(bytes, size, &end);
        if (step != rows[i].step || (step != SCAN_MORE && rows[i].end != 0 && end != rows[i].end)) {
            fail_msg("%s: step %d at %zu", rows[i].name, (int)step, end);
        }
        for (size_t chunk = 1; chunk <= size + 1; chunk++) {
            check_chunks(rows[i].name, bytes, size, chunk);
        }
    }
}

static void blank_is_known(void **state)
{
    (void)state;
    struct scan scan = scan_make();
    size_t end;
    assert_true(scan_is_blank(&scan));
    assert_int_equal(scan_feed(&scan, (const unsigned char *)" \n", 2, &end), SCAN_MORE);
    assert_true(scan_is_blank(&scan));
    assert_int_equal(scan_feed(&scan, (const unsigned char *)"{", 1, &end), SCAN_MORE);
    assert_false(scan_is_blank(&scan));
}

static uint32_t random_next(uint32_t *seed) { return *seed = *seed * 1664525 + 1013904223; }

/* Texts of few letters meet every border of a block with everything. */
static void random_texts_agree_with_the_plain_way(void **state)
{
    (void)state;
    static const char letters[] = "[]{}\"\"\\\\ ,a0";
    uint32_t seed = 1;
    unsigned char text[300];
    for (int round = 0; round < 6000; round++) {
        size_t size = random_next(&seed) >> 16;
        size %= sizeof text;
        unsigned dull = random_next(&seed) >> 24;
        for (size_t i = 0; i < size; i++) {
            text[i] = (unsigned char)letters[(random_next(&seed) >> 20) % (sizeof letters - 1)];
            if (random_next(&seed) >> 24 < dull) {
                text[i] = 'x';
            }
        }
        if (size > 0) {
            text[0] = (unsigned char)"[{\""[round % 3];
        }
        check_chunks("random text", text, size, size + 1);
        check_chunks("random text", text, size, 1 + (random_next(&seed) >> 16) % 130);
        check_chunks("random text", text, size, 1);
    }
}

static void depth_is_not_limited(void **state)
{
    (void)state;
    enum { LEVELS = 100000 };
    unsigned char *text = malloc(2 * LEVELS);
    assert_non_null(text);
    memset(text, '[', LEVELS);
    memset(text + LEVELS, ']', LEVELS);
    check_chunks("100,000 levels", text, 2 * LEVELS, 65536);
    check_chunks("100,000 levels but one", text, 2 * LEVELS - 1, 65536);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(blank_is_known),
        cmocka_unit_test(random_texts_agree_with_the_plain_way),
        cmocka_unit_test(depth_is_not_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
