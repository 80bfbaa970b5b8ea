/* escape: text of every width, written, measures as a good JSON string and reads back as what it was; and untrusted
 * bytes become valid UTF-8. */
#include "json/escape.h"
#include "json/string.h"
#include "json/utf8.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* The code points of a JSON string without its quotes; their number in `*ret_length`. Owned by the caller. */
static uint32_t *read_back(unsigned char *text, size_t size, size_t *ret_length)
{
    struct string_shape shape;
    text[size] = '"';
    check(string_measure(text, text + size + 1, &shape) == STRING_OK && shape.end == text + size);
    uint32_t *codes = malloc(shape.length * sizeof *codes + 1);
    string_write_4(text, &shape, codes);
    *ret_length = shape.length;
    return codes;
}

/* `count` units of `width` bytes each, in memory of exactly that size, with what must stand in front of a short text.
 */
static void check_units(const unsigned char *data, size_t count, size_t width)
{
    unsigned char *copy = malloc(8 + count * width), *units = copy + 8, *out = malloc(ESCAPE_ROOM(count) + 1), *end;
    memcpy(units, data, count * width);
    if (width == 4) {
        for (size_t i = 0; i < count; i++) { /* the top bits choose how large the code point may be */
            uint32_t unit;
            memcpy(&unit, units + 4 * i, 4);
            unit = (unit & 0x1FFFFF) >> (unit >> 30) * 7;
            unit = unit > 0x10FFFF ? unit - 0x10FFFF : unit;
            memcpy(units + 4 * i, &unit, 4);
        }
    }
    end = width == 1   ? escape_latin1(out, units, count)
          : width == 2 ? escape_ucs2(out, (const uint16_t *)(const void *)units, count)
                       : escape_ucs4(out, (const uint32_t *)(const void *)units, count);
    size_t size = (size_t)(end - out), length;
    check(size <= 6 * count && utf8_valid_prefix(out, size) == size);
    uint32_t *codes = read_back(out, size, &length);
    size_t at = 0;
    for (size_t i = 0; i < count; i++, at++) {
        uint32_t unit = 0;
        memcpy(&unit, units + i * width, width);
        check(at < length);
        if (codes[at] != unit) { /* two surrogates that stand side by side read back as one character */
            uint32_t low = 0;
            check(codes[at] >= 0x10000 && i + 1 < count);
            memcpy(&low, units + ++i * width, width);
            check(codes[at] == 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
        }
    }
    check(at == length);
    free(codes);
    free(out);
    free(copy);
}

/* Bytes of which nothing is known; and ASCII, if they are. */
static void check_bytes(const unsigned char *data, size_t size)
{
    unsigned char *copy = malloc(ESCAPE_FRONT + size), *text = copy + ESCAPE_FRONT;
    unsigned char *out = malloc(ESCAPE_ROOM(size) + 1), *other = malloc(ESCAPE_ROOM(size));
    memset(copy, '"', ESCAPE_FRONT);
    memcpy(text, data, size);
    size_t written = (size_t)(escape_untrusted(out, text, size) - out), length;
    check(utf8_valid_prefix(out, written) == written);
    free(read_back(out, written, &length));
    bool is_ascii = true;
    for (size_t i = 0; i < size; i++) {
        is_ascii = is_ascii && data[i] < 0x80;
    }
    if (is_ascii) {
        check((size_t)(escape_ascii(other, text, size) - other) == written && memcmp(out, other, written) == 0);
        size_t plain = (size_t)(string_plain(data, data + size) - data);
        check(escape_copy_plain(other, text, size) == plain && memcmp(other, data, plain) == 0);
        check(escape_copy_blocks(other, text, size) == plain && memcmp(other, data, plain) == 0);
    }
    free(other);
    free(out);
    free(copy);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    check_bytes(data, size);
    check_units(data, size, 1);
    check_units(data, size / 2, 2);
    check_units(data, size / 4, 4);
    return 0;
}
