/*
 * One character as the inside of a JSON string: what the functions of json/escape.h are made of. Each writes at `out`,
 * where 8 bytes must be free, and returns the place behind the character. Pure.
 */
#ifndef ASYA_JSON_CHARACTER_H
#define ASYA_JSON_CHARACTER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { CHARACTER_ESCAPED_LAST = '\\' }; /* no character above it has an escape but a surrogate */

/* What stands for a character: `size` bytes of `text`, or the character itself where size is 0. */
struct character_escape {
    char text[7];
    uint8_t size;
};

extern const struct character_escape character_escapes[CHARACTER_ESCAPED_LAST + 1];

/* A code point below 0x80. */
static inline unsigned char *character_put_ascii(unsigned char *out, unsigned c)
{
    if (c > CHARACTER_ESCAPED_LAST || character_escapes[c].size == 0) {
        *out = (unsigned char)c;
        return out + 1;
    }
    memcpy(out, &character_escapes[c], sizeof character_escapes[c]);
    return out + character_escapes[c].size;
}

/* Writes four bytes, the lowest first. */
static inline void character_put_word(unsigned char *out, uint32_t bytes)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap32(bytes);
#endif
    memcpy(out, &bytes, sizeof bytes);
}

/* 0x80 to 0x7FF */
static inline unsigned char *character_put_two(unsigned char *out, unsigned c)
{
    character_put_word(out, 0x80C0U | c >> 6 | (c & 0x3F) << 8);
    return out + 2;
}

/* 0x800 to 0xFFFF, no surrogate */
static inline unsigned char *character_put_three(unsigned char *out, unsigned c)
{
    character_put_word(out, 0x8080E0U | c >> 12 | (c >> 6 & 0x3F) << 8 | (c & 0x3F) << 16);
    return out + 3;
}

/* above 0xFFFF */
static inline unsigned char *character_put_four(unsigned char *out, unsigned c)
{
    character_put_word(out, 0x808080F0U | c >> 18 | (c >> 12 & 0x3F) << 8 | (c >> 6 & 0x3F) << 16 | (c & 0x3F) << 24);
    return out + 4;
}

static inline bool character_is_surrogate(unsigned c) { return c - 0xD800 < 0x800; }

/* A surrogate, as an escape. */
unsigned char *character_put_surrogate(unsigned char *out, unsigned c);

/* Any code point, or a surrogate. */
static inline unsigned char *character_put(unsigned char *out, unsigned c)
{
    if (c < 0x80) {
        return character_put_ascii(out, c);
    }
    if (c < 0x800) {
        return character_put_two(out, c);
    }
    if (c >= 0x10000) {
        return character_put_four(out, c);
    }
    return __builtin_expect(!character_is_surrogate(c), 1) ? character_put_three(out, c)
                                                           : character_put_surrogate(out, c);
}

#endif
