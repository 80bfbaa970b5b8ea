/* string: measure and write, each row whole and cut off at every byte, flush against a page that faults on both sides:
 * the text read and the characters written. */
#include "guard.h"

#include "json/string.h"
#include "json/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *name;
    const char *text; /* behind the opening quote */
    enum string_status status;
    size_t end;                 /* where the status points */
    uint32_t widest;            /* of a good string, as are the next two */
    const uint32_t *characters; /* ended by `last` */
    bool escaped;
};

static const uint32_t last = 0xFFFFFFFF;
#define CHARACTERS(...)                 ((const uint32_t[]){__VA_ARGS__, 0xFFFFFFFF})
#define GOOD(end, widest, escaped, ...) STRING_OK, end, widest, CHARACTERS(__VA_ARGS__), escaped
#define BAD(status, end)                status, end, 0, NULL, false
#define A16                             "aaaaaaaaaaaaaaaa"
#define A16_CHARACTERS                  'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'

static const struct row rows[] = {
    {"an empty string", "\"", STRING_OK, 0, 0x7F, &last, false},
    {"plain letters", "abc\"", GOOD(3, 0x7F, false, 'a', 'b', 'c')},
    {"DEL is plain", "\x7F\"", GOOD(1, 0x7F, false, 0x7F)},
    {"a block of letters", A16 "\"", GOOD(16, 0x7F, false, A16_CHARACTERS)},
    {"every short escape", "\\\"\\\\\\/\\b\\f\\n\\r\\t\"", GOOD(16, 0x7F, true, '"', '\\', '/', 8, 12, 10, 13, 9)},
    {"an escaped NUL", "\\u0000\"", GOOD(6, 0x7F, true, 0)},
    {"an escape in either case", "\\u00e9\\u00E9\"", GOOD(12, 0xFF, true, 0xE9, 0xE9)},
    {"an escape of two bytes", "\\u4e2D\"", GOOD(6, 0xFFFF, true, 0x4E2D)},
    {"a pair of surrogates is one character", "\\ud83d\\ude00\"", GOOD(12, 0x10FFFF, true, 0x1F600)},
    {"the first and the last pair", "\\ud800\\udc00\\udbff\\udfff\"", GOOD(24, 0x10FFFF, true, 0x10000, 0x10FFFF)},
    {"a lone high surrogate stays", "\\ud83d\"", GOOD(6, 0xFFFF, true, 0xD83D)},
    {"a lone low surrogate stays", "\\ude00\"", GOOD(6, 0xFFFF, true, 0xDE00)},
    {"a pair the wrong way round is two", "\\ude00\\ud83d\"", GOOD(12, 0xFFFF, true, 0xDE00, 0xD83D)},
    {"two highs and a low", "\\ud83d\\ud83d\\ude00\"", GOOD(18, 0x10FFFF, true, 0xD83D, 0x1F600)},
    {"a high before another escape", "\\ud83d\\n\"", GOOD(8, 0xFFFF, true, 0xD83D, '\n')},
    {"a high before another \\u", "\\ud83d\\u0041\"", GOOD(12, 0xFFFF, true, 0xD83D, 'A')},
    {"a high before letters", "\\ud83dude00\"", GOOD(11, 0xFFFF, true, 0xD83D, 'u', 'd', 'e', '0', '0')},
    {"Latin-1", "\xC2\x80\xC3\xBF\"", GOOD(4, 0xFF, false, 0x80, 0xFF)},
    {"just beyond Latin-1", "\xC4\x80\"", GOOD(2, 0xFFFF, false, 0x100)},
    {"two, three and four bytes", "\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"",
     GOOD(16, 0x10FFFF, false, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF)},
    {"letters around others", A16 "\xC3\xA9" A16 "\xE4\xB8\xAD" A16 "\"",
     GOOD(53, 0xFFFF, false, A16_CHARACTERS, 0xE9, A16_CHARACTERS, 0x4E2D, A16_CHARACTERS)},
    {"an escape behind a block", A16 "\\n" A16 "\"", GOOD(34, 0x7F, true, A16_CHARACTERS, '\n', A16_CHARACTERS)},
    {"a line separator may stand raw", "\xE2\x80\xA8\"", GOOD(3, 0xFFFF, false, 0x2028)},
    {"nothing at all is open", "", BAD(STRING_OPEN, 0)},
    {"no quote is open", "abc", BAD(STRING_OPEN, 3)},
    {"a backslash at the end is open", "abc\\", BAD(STRING_OPEN, 3)},
    {"a raw newline", "ab\n\"", BAD(STRING_CONTROL, 2)},
    {"a raw NUL is refused, not the end", "\x01\"", BAD(STRING_CONTROL, 0)},
    {"an unknown escape", "a\\x41\"", BAD(STRING_ESCAPE, 1)},
    {"an upper-case U", "\\U0041\"", BAD(STRING_ESCAPE, 0)},
    {"an escaped apostrophe", "\\'\"", BAD(STRING_ESCAPE, 0)},
    {"three digits", "\\u041\"abc", BAD(STRING_ESCAPE, 0)},
    {"a sign is no digit", "\\u+041\"", BAD(STRING_ESCAPE, 0)},
    {"half a second surrogate", "\\ud83d\\ude0\"", BAD(STRING_ESCAPE, 6)},
    {"an encoded surrogate", "\xED\xA0\x80\"", BAD(STRING_ENCODING, 0)},
    {"an overlong slash", "ab\xC0\xAF\"", BAD(STRING_ENCODING, 2)},
    {"a sequence cut off by the quote", "\xE2\x82\"", BAD(STRING_ENCODING, 0)},
    {"a sequence cut off by the end", "\xE2\x82", BAD(STRING_ENCODING, 0)},
    {"beyond U+10FFFF", "\xF4\x90\x80\x80\"", BAD(STRING_ENCODING, 0)},
    {"a stray continuation byte behind a good sequence", "\xC3\xA9\xA9\"", BAD(STRING_ENCODING, 2)},
};

/* The characters of a good string, by the function for `width` bytes each. */
static void check_write(const struct row *row, const unsigned char *text, const struct string_shape *shape,
                        size_t width)
{
    struct guard out = guard_make(shape->length * width);
    if (width == 1) {
        string_write_1(text, shape, out.data);
    } else if (width == 2) {
        string_write_2(text, shape, (uint16_t *)(void *)out.data);
    } else {
        string_write_4(text, shape, (uint32_t *)(void *)out.data);
    }
    for (size_t i = 0; i < shape->length; i++) {
        uint32_t character = 0;
        memcpy(&character, out.data + i * width, width); /* little-endian machines only, as all we build for */
        if (character != row->characters[i]) {
            fail_msg("%s: character %zu in %zu bytes is U+%04X", row->name, i, width, character);
        }
    }
    guard_free(&out);
}

static void check_row(const struct row *row)
{
    size_t length = 0;
    struct guard text = guard_copy(row->text, strlen(row->text));
    struct string_shape shape;
    enum string_status status = string_measure(text.data, text.data + text.size, &shape);
    if (status != row->status || shape.end != text.data + row->end) {
        fail_msg("%s: status %d at %zu", row->name, (int)status, (size_t)(shape.end - text.data));
    }
    if (status == STRING_OK) {
        while (row->characters[length] != last) {
            length++;
        }
        if (shape.length != length || shape.widest != row->widest || shape.escaped != row->escaped) {
            fail_msg("%s: %zu characters, widest 0x%X", row->name, shape.length, shape.widest);
        }
        for (size_t width = shape.widest <= 0xFF ? 1 : shape.widest <= 0xFFFF ? 2 : 4; width <= 4; width *= 2) {
            check_write(row, text.data, &shape, width);
        }
    }
    guard_free(&text);
}

static void rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_row(&rows[i]);
    }
}

static void a_string_cut_off_is_never_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].status != STRING_OK) {
            continue;
        }
        for (size_t size = 0; size <= rows[i].end; size++) {
            struct guard text = guard_copy(rows[i].text, size);
            struct string_shape shape;
            enum string_status status = string_measure(text.data, text.data + size, &shape);
            if (status == STRING_OK || status == STRING_CONTROL) {
                fail_msg("%s, %zu bytes: status %d", rows[i].name, size, (int)status);
            }
            assert_true(shape.end <= text.data + size);
            guard_free(&text);
        }
    }
}

static void special_bytes_are_found_at_every_place(void **state)
{
    (void)state;
    struct guard guard = guard_make(70);
    for (size_t size = 0; size <= guard.size; size++) {
        unsigned char *text = guard_tail(&guard, size);
        memset(text, 'a', size);
        assert_ptr_equal(string_plain(text, text + size), text + size);
        for (size_t place = 0; place < size; place++) {
            for (unsigned byte = 0; byte <= 0xFF; byte++) {
                text[place] = (unsigned char)byte;
                bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
                assert_ptr_equal(string_plain(text, text + size), text + (plain ? size : place));
            }
            text[place] = 'a';
        }
    }
    guard_free(&guard);
}

static uint32_t random_next(uint32_t *seed) { return (*seed = *seed * 1664525 + 1013904223) >> 8; }

/* A text of pieces that meet each other at every border of a block: `kinds` of them, from ASCII over whole characters
 * of each length to what is wrong. */
static size_t random_text(uint32_t *seed, unsigned kinds, unsigned char *text, size_t size)
{
    static const char *const pieces[] = {"a",
                                         "0123456789abcdef",
                                         "\xC3\xA9",
                                         "\xD0\x96",
                                         "\xE4\xB8\xAD",
                                         "\xED\x9F\xBF",
                                         "\xF0\x9F\x98\x80",
                                         "\\n",
                                         "\\u20aC",
                                         "\\ud83d\\ude00",
                                         "\\udfff",
                                         "\xC3",
                                         "\x80",
                                         "\xE4\xB8",
                                         "\xED\xA0\x80",
                                         "\xE0\x9F\xBF",
                                         "\xC1\xBF",
                                         "\xF0\x8F\xBF\xBF",
                                         "\xF4\x90\x80\x80",
                                         "\xF5\x80\x80\x80",
                                         "\x1F",
                                         "\\",
                                         "\""};
    size_t used = 0;
    unsigned first = random_next(seed) % kinds; /* long runs of one kind, too */
    for (;;) {
        unsigned kind = random_next(seed) % 4 ? random_next(seed) % kinds : first;
        const char *piece = pieces[kind < sizeof pieces / sizeof *pieces ? kind : 0];
        if (used + strlen(piece) > size) {
            return used;
        }
        memcpy(text + used, piece, strlen(piece));
        used += strlen(piece);
    }
}

/* The plain way: one character after the other. Escapes are only told from other characters here; rows see to them. */
static enum string_status oracle(const unsigned char *at, const unsigned char *end, const unsigned char **ret_end)
{
    enum string_status status = STRING_OPEN;
    while (at < end && *at != '"') {
        size_t length = utf8_sequence(at, end);
        if (*at == '\\') {
            length = end - at >= 2 && at[1] == 'u' ? 6 : 2;
            if ((size_t)(end - at) < length || (at[1] != 'u' && at[1] != 'n' && at[1] != '\\' && at[1] != '"')) {
                status = end - at < 2 ? STRING_OPEN : STRING_ESCAPE;
                break;
            }
        } else if (*at < 0x20 || length == 0) {
            status = *at < 0x20 ? STRING_CONTROL : STRING_ENCODING;
            break;
        }
        at += length;
    }
    *ret_end = at;
    return at < end && *at == '"' ? STRING_OK : status;
}

/* What the writers made of a good text, encoded again: the same text, if it had no escapes. */
static void check_round_trip(const unsigned char *text, const struct string_shape *shape)
{
    struct guard out = guard_make(shape->length * 4);
    string_write_4(text, shape, (uint32_t *)(void *)out.data);
    const unsigned char *at = text;
    uint32_t widest = 0;
    for (size_t i = 0; i < shape->length; i++) {
        uint32_t code;
        memcpy(&code, out.data + 4 * i, 4);
        assert_int_equal(code, utf8_take(&at));
        widest = code > widest ? code : widest;
    }
    assert_ptr_equal(at, shape->end);
    assert_true(widest <= shape->widest && (shape->widest == 0x7F || widest > shape->widest >> 8));
    for (size_t width = shape->widest <= 0xFF ? 1 : 2; shape->widest <= 0xFFFF && width < 4; width *= 2) {
        struct guard narrow = guard_make(shape->length * width);
        if (width == 1) {
            string_write_1(text, shape, narrow.data);
        } else {
            string_write_2(text, shape, (uint16_t *)(void *)narrow.data);
        }
        for (size_t i = 0; i < shape->length; i++) {
            assert_memory_equal(narrow.data + i * width, out.data + 4 * i, width);
        }
        guard_free(&narrow);
    }
    guard_free(&out);
}

static void random_texts_agree_with_the_plain_way(void **state)
{
    (void)state;
    uint32_t seed = 1;
    size_t good = 0;
    struct guard guard = guard_make(160);
    for (int round = 0; round < 40000; round++) {
        size_t limit = random_next(&seed) % guard.size;
        unsigned char *text = guard.data;
        size_t size = random_text(&seed, round % 3 == 0 ? 23 : round % 3 == 1 ? 11 : 7, text, limit);
        if (size < limit && round % 8 != 0) {
            text[size++] = '"';
        }
        memmove(guard_tail(&guard, size), text, size);
        text = guard_tail(&guard, size);
        struct string_shape shape;
        const unsigned char *expected_end;
        enum string_status expected = oracle(text, text + size, &expected_end);
        enum string_status status = string_measure(text, text + size, &shape);
        if (status != expected || shape.end != expected_end) {
            fail_msg("round %d: status %d at %zu, not %d at %zu", round, (int)status, (size_t)(shape.end - text),
                     (int)expected, (size_t)(expected_end - text));
        }
        if (status == STRING_OK && !shape.escaped) {
            check_round_trip(text, &shape);
            good++;
        }
    }
    print_message("%zu good texts\n", good);
    guard_free(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(a_string_cut_off_is_never_good),
        cmocka_unit_test(special_bytes_are_found_at_every_place),
        cmocka_unit_test(random_texts_agree_with_the_plain_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
