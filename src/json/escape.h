/*
 * Text into the inside of a JSON string (RFC 8259, section 7): quote, backslash and the controls below 0x20 are
 * escaped, everything else stands as it is, in UTF-8. Pure, no allocation.
 *
 * A function for each form text comes in. Each writes `size` characters at `out`, without quotes, and returns the place
 * behind them; `out` must have room for ESCAPE_ROOM(size) bytes, over which the function may scribble.
 */
#ifndef ASYA_JSON_ESCAPE_H
#define ASYA_JSON_ESCAPE_H

#include "json/block.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ESCAPE_ROOM(size) (6 * (size) + BLOCK_SIZE)

/* Bytes that stand for themselves unless they are escaped: ASCII, or UTF-8 known to be valid. */
unsigned char *escape_bytes(unsigned char *out, const unsigned char *text, size_t size);

/* UTF-8 of which nothing is known: each byte that belongs to no valid sequence becomes U+FFFD. */
unsigned char *escape_untrusted(unsigned char *out, const unsigned char *text, size_t size);

/* Code points of 1, 2 or 4 bytes. Lone surrogates, and pairs of them that stand as two, become escapes (\udXXX). */
unsigned char *escape_latin1(unsigned char *out, const uint8_t *text, size_t size);
unsigned char *escape_ucs2(unsigned char *out, const uint16_t *text, size_t size);
unsigned char *escape_ucs4(unsigned char *out, const uint32_t *text, size_t size);

/* Not 0 if one of the eight bytes is a quote, a backslash or below 0x20; may also be if one is above 0x7F. */
static inline uint64_t escape_needed(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t quote = (word ^ '"' * ones) - ones, backslash = (word ^ '\\' * ones) - ones, control = word - 0x20 * ones;
    return (quote | backslash | control) & 0x80 * ones;
}

/* As escape_bytes, for ASCII. Most strings are short and need no escape: these are looked at in one or two words and
 * copied by parts that overlap, without a loop. */
static inline unsigned char *escape_ascii(unsigned char *out, const unsigned char *text, size_t size)
{
    if (size >= BLOCK_SIZE) {
        return escape_bytes(out, text, size);
    }
    if (size >= 8) {
        uint64_t head, tail;
        memcpy(&head, text, 8);
        memcpy(&tail, text + size - 8, 8);
        if (__builtin_expect((escape_needed(head) | escape_needed(tail)) != 0, 0)) {
            return escape_bytes(out, text, size);
        }
        memcpy(out, &head, 8);
        memcpy(out + size - 8, &tail, 8);
        return out + size;
    }
    if (size >= 4) {
        uint32_t head, tail;
        memcpy(&head, text, 4);
        memcpy(&tail, text + size - 4, 4);
        if (__builtin_expect(escape_needed(head | (uint64_t)tail << 32) != 0, 0)) {
            return escape_bytes(out, text, size);
        }
        memcpy(out, &head, 4);
        memcpy(out + size - 4, &tail, 4);
        return out + size;
    }
    if (size > 0) {
        unsigned char first = text[0], middle = text[size / 2], last = text[size - 1];
        uint64_t word = first | (uint64_t)middle << 8 | (uint64_t)last << 16 | 0x2020202020000000;
        if (__builtin_expect(escape_needed(word) != 0, 0)) {
            return escape_bytes(out, text, size);
        }
        out[0] = first;
        out[size / 2] = middle;
        out[size - 1] = last;
    }
    return out + size;
}

#endif
