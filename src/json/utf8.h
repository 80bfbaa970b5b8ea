/*
 * Strict UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF. Pure, no allocation.
 */
#ifndef ASYA_JSON_UTF8_H
#define ASYA_JSON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the longest valid prefix that ends at a character's border: `size` if all is valid, else the offset of
 * the first byte of the first sequence that is wrong or cut off. */
size_t utf8_valid_prefix(const unsigned char *bytes, size_t size);

/* The length of the valid sequence at `at`, 1 to 4 bytes, or 0; nothing at or behind `end` is read. */
static inline size_t utf8_sequence(const unsigned char *at, const unsigned char *end)
{
    size_t left = (size_t)(end - at);
    if (left == 0) {
        return 0;
    }
    unsigned lead = at[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xC2 || left < 2) {
        return 0;
    }
    unsigned second = at[1];
    if (lead < 0xE0) {
        return (second & 0xC0) == 0x80 ? 2 : 0;
    }
    if (left < 3 || (at[2] & 0xC0) != 0x80) {
        return 0;
    }
    if (lead < 0xF0) {
        unsigned low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
        return second >= low && second <= high ? 3 : 0;
    }
    if (lead > 0xF4 || left < 4 || (at[3] & 0xC0) != 0x80) {
        return 0;
    }
    unsigned low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high ? 4 : 0;
}

/* The code point of a valid sequence; advances `*at` behind it. */
static inline uint32_t utf8_take(const unsigned char **at)
{
    const unsigned char *p = *at;
    if (p[0] < 0x80) {
        *at = p + 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *at = p + 2;
        return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    }
    if (p[0] < 0xF0) {
        *at = p + 3;
        return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    }
    *at = p + 4;
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
}

#endif
