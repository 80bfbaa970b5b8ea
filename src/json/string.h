/*
 * JSON strings: where they end, how many characters they hold, and their characters as an array of 1, 2 or 4 bytes
 * each. Pure, no allocation: a string is measured first, then written into memory of exactly the right size.
 */
#ifndef ASYA_JSON_STRING_H
#define ASYA_JSON_STRING_H

#include "json/block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum string_status {
    STRING_OK,
    STRING_OPEN,     /* the text ends inside the string */
    STRING_CONTROL,  /* a control character that is not escaped */
    STRING_ESCAPE,   /* a backslash that starts no escape */
    STRING_ENCODING, /* not strict UTF-8 */
};

struct string_shape {
    const unsigned char *end; /* the closing quote; on failure the byte the status is about */
    size_t length;            /* characters (code points); a pair of surrogate escapes is one, a lone one too */
    uint32_t widest;          /* 0x7F, 0xFF, 0xFFFF or 0x10FFFF: the smallest of these that no code point exceeds */
    bool escaped;             /* there is at least one backslash */
};

/* The first byte from `at` on that is a quote, a backslash, a control character or not ASCII; `end` if none. */
static inline const unsigned char *string_plain(const unsigned char *at, const unsigned char *end)
{
    for (unsigned blocks = 0; end - at >= BLOCK_SIZE; blocks++) {
        unsigned plain = block_plain(at);
        at += plain;
        if (plain < BLOCK_SIZE) {
            return at;
        }
        while (blocks >= 2 && end - at >= MARKS_SIZE && block_all_plain(at)) { /* it is a long one */
            at += MARKS_SIZE;
        }
    }
    while (at < end && *at != '"' && *at != '\\' && *at >= 0x20 && *at < 0x80) {
        at++;
    }
    return at;
}

/* Measures and checks the string whose first byte after the opening quote is `at`; nothing at or behind `end` is read.
 */
enum string_status string_measure(const unsigned char *at, const unsigned char *end, struct string_shape *ret_shape);

/* Write the characters of a string that string_measure found good: `shape->length` of them, each in 1 byte (widest at
 * most 0xFF), 2 (0xFFFF) or 4. `at` is what was measured. Lone surrogates are written as they are. */
void string_write_1(const unsigned char *at, const struct string_shape *shape, uint8_t *out);
void string_write_2(const unsigned char *at, const struct string_shape *shape, uint16_t *out);
void string_write_4(const unsigned char *at, const struct string_shape *shape, uint32_t *out);

#endif
