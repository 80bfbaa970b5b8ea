/*
 * Text into JSON strings: which bytes may stand as they are, and what the others become (RFC 8259, section 7).
 *
 * Quote, backslash and the controls below 0x20 are escaped; everything else, UTF-8 included, is copied. Pure but for
 * the growth of the buffer, whose limit bounds it.
 */
#ifndef ASYA_JSON_ESCAPE_H
#define ASYA_JSON_ESCAPE_H

#include "base/buffer.h"

/* How many bytes from `at` on need no escape. */
size_t escape_plain(const unsigned char *at, size_t size);

/* Appends `size` bytes of valid UTF-8 as a JSON string with its quotes. On failure part of it may have been appended.
 */
enum buffer_status escape_string(struct buffer *out, const unsigned char *at, size_t size);

/* Appends bytes as the inside of a string, without quotes; otherwise as escape_string. */
enum buffer_status escape_append(struct buffer *out, const unsigned char *at, size_t size);

#endif
