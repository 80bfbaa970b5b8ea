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

#include <stdbool.h>
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

/* Writes a short ASCII text that needs no escape, as most are. It is looked at in one or two words, and stored without
 * a branch on its length. There must be at least 8 bytes that may be read in front of it, as the characters of a str
 * have the head of the object. False if it is not that short or needs an escape: then it must be written otherwise. */
static inline bool escape_try_short(unsigned char *out, const unsigned char *text, size_t size)
{
    uint64_t head, tail;
    if (size - 1 < 8) { /* 1 to 8: the last 8 bytes up to the end, without those before the beginning */
        unsigned before = 64 - 8 * (unsigned)size;
        memcpy(&tail, text + size - 8, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        tail = __builtin_bswap64(tail);
#endif
        tail >>= before;
        if (escape_needed(tail | (0x2020202020202020 & ~(UINT64_MAX >> before))) != 0) {
            return false;
        }
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        tail = __builtin_bswap64(tail);
#endif
        memcpy(out, &tail, 8);
        return true;
    }
    if (size - 9 < 8) { /* 9 to 16: two words that overlap */
        memcpy(&head, text, 8);
        memcpy(&tail, text + size - 8, 8);
        if ((escape_needed(head) | escape_needed(tail)) != 0) {
            return false;
        }
        memcpy(out, &head, 8);
        memcpy(out + size - 8, &tail, 8);
        return true;
    }
    if (size - 17 < 16) { /* 17 to 32: two blocks that overlap */
        if (block_plain(text) + block_plain(text + size - BLOCK_SIZE) < 2 * BLOCK_SIZE) {
            return false;
        }
        memcpy(out, text, BLOCK_SIZE);
        memcpy(out + size - BLOCK_SIZE, text + size - BLOCK_SIZE, BLOCK_SIZE);
        return true;
    }
    return false;
}

#endif
