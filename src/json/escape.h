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

/* In front of ASCII text there must be this many bytes that may be read, as the characters of a str have the head of
 * the object: what is left of a text is looked at together with what comes before it. */
enum { ESCAPE_FRONT = BLOCK_SIZE };

unsigned char *escape_ascii(unsigned char *out, const unsigned char *text, size_t size);

/* Copies ASCII up to the first character that must be escaped; how many come before it. Scribbles over up to BLOCK_SIZE
 * bytes behind `size`. */
typedef size_t escape_copy(unsigned char *out, const unsigned char *text, size_t size);

escape_copy escape_copy_blocks; /* for every processor */

#if defined(BLOCK_SSE2) && defined(__x86_64__)
#define ESCAPE_CHOOSES 1
extern escape_copy *escape_copy_plain; /* the best for this one, chosen when the image is loaded */
#else
static inline size_t escape_copy_plain(unsigned char *out, const unsigned char *text, size_t size)
{
    return escape_copy_blocks(out, text, size);
}
#endif

/* UTF-8 of which nothing is known: each byte that belongs to no valid sequence becomes U+FFFD. */
unsigned char *escape_untrusted(unsigned char *out, const unsigned char *text, size_t size);

/* Code points of 1, 2 or 4 bytes. Lone surrogates, and pairs of them that stand as two, become escapes (\udXXX). */
unsigned char *escape_latin1(unsigned char *out, const uint8_t *text, size_t size);
unsigned char *escape_ucs2(unsigned char *out, const uint16_t *text, size_t size);
unsigned char *escape_ucs4(unsigned char *out, const uint32_t *text, size_t size);

#endif
