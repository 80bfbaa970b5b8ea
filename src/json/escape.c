#include "json/escape.h"

#include "json/utf8.h"

/* What stands for a byte: `size` bytes of `text`, or the byte itself where size is 0. */
struct replacement {
    char text[7];
    uint8_t size;
};

enum { REPLACED_LAST = '\\', UNIT = 8, BLOCK_UNITS = BLOCK_SIZE / 2 };

#define SHORT(letter)                                                                                                  \
    {                                                                                                                  \
        {'\\', letter}, 2                                                                                              \
    }
#define LONG(c)                                                                                                        \
    {                                                                                                                  \
        {'\\', 'u', '0', '0', '0' + ((c) >> 4), ((c)&15) < 10 ? '0' + ((c)&15) : 'a' + ((c)&15) - 10}, 6               \
    }

static const struct replacement replacements[REPLACED_LAST + 1] = {
    LONG(0),
    LONG(1),
    LONG(2),
    LONG(3),
    LONG(4),
    LONG(5),
    LONG(6),
    LONG(7),
    SHORT('b'),
    SHORT('t'),
    SHORT('n'),
    LONG(11),
    SHORT('f'),
    SHORT('r'),
    LONG(14),
    LONG(15),
    LONG(16),
    LONG(17),
    LONG(18),
    LONG(19),
    LONG(20),
    LONG(21),
    LONG(22),
    LONG(23),
    LONG(24),
    LONG(25),
    LONG(26),
    LONG(27),
    LONG(28),
    LONG(29),
    LONG(30),
    LONG(31),
    ['"'] = SHORT('"'),
    ['\\'] = SHORT('\\'),
};

/* A code point below 0x80. */
static inline unsigned char *put_ascii(unsigned char *out, unsigned c)
{
    if (c > REPLACED_LAST || replacements[c].size == 0) {
        *out = (unsigned char)c;
        return out + 1;
    }
    memcpy(out, &replacements[c], sizeof replacements[c]);
    return out + replacements[c].size;
}

/* The others; four bytes are always written. */

static inline void put_word(unsigned char *out, uint32_t bytes)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap32(bytes);
#endif
    memcpy(out, &bytes, sizeof bytes);
}

/* 0x80 to 0x7FF */
static inline unsigned char *put_two(unsigned char *out, unsigned c)
{
    put_word(out, 0x80C0U | c >> 6 | (c & 0x3F) << 8);
    return out + 2;
}

/* 0x800 to 0xFFFF, no surrogate */
static inline unsigned char *put_three(unsigned char *out, unsigned c)
{
    put_word(out, 0x8080E0U | c >> 12 | (c >> 6 & 0x3F) << 8 | (c & 0x3F) << 16);
    return out + 3;
}

/* above 0xFFFF */
static inline unsigned char *put_four(unsigned char *out, unsigned c)
{
    put_word(out, 0x808080F0U | c >> 18 | (c >> 12 & 0x3F) << 8 | (c >> 6 & 0x3F) << 16 | (c & 0x3F) << 24);
    return out + 4;
}

static inline bool is_surrogate(unsigned c) { return c - 0xD800 < 0x800; }

static unsigned char *put_surrogate(unsigned char *out, unsigned c)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char text[] = {
        '\\', 'u', 'd', (unsigned char)hex[c >> 8 & 15], (unsigned char)hex[c >> 4 & 15], (unsigned char)hex[c & 15]};
    memcpy(out, text, sizeof text);
    return out + sizeof text;
}

/* Copies blocks up to one that holds a byte that must be escaped or is not ASCII, and of that what comes before it, or
 * up to less than a block at the end; advances both. True unless that is the very end. */
static inline bool copy_plain(unsigned char **out_place, const unsigned char **text_place, const unsigned char *end)
{
    const unsigned char *text = *text_place;
    unsigned char *out = *out_place;
    for (; end - text >= MARKS_SIZE && block_all_plain(text); text += MARKS_SIZE, out += MARKS_SIZE) {
        memcpy(out, text, MARKS_SIZE);
    }
    while (end - text >= BLOCK_SIZE) {
        unsigned plain = block_plain(text);
        memcpy(out, text, BLOCK_SIZE);
        if (plain < BLOCK_SIZE) {
            *text_place = text + plain;
            *out_place = out + plain;
            return true;
        }
        text += BLOCK_SIZE; /* not `plain`, which the next round would have to wait for */
        out += BLOCK_SIZE;
    }
    *text_place = text;
    *out_place = out;
    return text < end;
}

unsigned char *escape_bytes(unsigned char *out, const unsigned char *text, size_t size)
{
    const unsigned char *end = text + size;
    while (copy_plain(&out, &text, end)) {
        /* in the last block, and where one of 8 bytes is an escape the next is not far: a byte at a time */
        const unsigned char *stop = end - text >= UNIT ? text + UNIT : end;
        while (text < stop) {
            unsigned char c = *text++;
            if (c < 0x80) {
                out = put_ascii(out, c);
            } else {
                *out++ = c;
            }
        }
    }
    return out;
}

unsigned char *escape_untrusted(unsigned char *out, const unsigned char *text, size_t size)
{
    const unsigned char *end = text + size;
    while (copy_plain(&out, &text, end)) {
        size_t sequence = utf8_sequence(text, end);
        if (sequence == 1) {
            out = put_ascii(out, *text);
        } else {
            static const unsigned char unknown[] = {0xEF, 0xBF, 0xBD}; /* U+FFFD */
            size_t written = sequence > 0 ? sequence : sizeof unknown;
            memcpy(out, sequence > 0 ? text : unknown, written);
            out += written;
        }
        text += sequence > 0 ? sequence : 1;
    }
    return out;
}

unsigned char *escape_latin1(unsigned char *out, const uint8_t *text, size_t size)
{
    const uint8_t *end = text + size;
    while (copy_plain(&out, &text, end)) {
        const uint8_t *stop = end - text >= UNIT ? text + UNIT : end;
        for (; text < stop; text++) {
            out = *text < 0x80 ? put_ascii(out, *text) : put_two(out, *text);
        }
    }
    return out;
}

/* Of characters wider than a byte, runs of one kind follow one another: a space among Chinese is the exception. */

unsigned char *escape_ucs2(unsigned char *out, const uint16_t *text, size_t size)
{
    const uint16_t *end = text + size;
    while (text < end) {
        unsigned c = *text++;
        if (c >= 0x800) {
            out = __builtin_expect(!is_surrogate(c), 1) ? put_three(out, c) : put_surrogate(out, c);
        } else {
            out = c < 0x80 ? put_ascii(out, c) : put_two(out, c);
        }
    }
    return out;
}

unsigned char *escape_ucs4(unsigned char *out, const uint32_t *text, size_t size)
{
    const uint32_t *end = text + size;
    while (text < end) {
        unsigned c = *text++;
        if (c < 0x80) {
            out = put_ascii(out, c);
        } else if (c < 0x800) {
            out = put_two(out, c);
        } else if (c >= 0x10000) {
            out = put_four(out, c);
        } else {
            out = __builtin_expect(!is_surrogate(c), 1) ? put_three(out, c) : put_surrogate(out, c);
        }
    }
    return out;
}
