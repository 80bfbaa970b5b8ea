/* NUL-terminated UTF-8 in fixed arrays: copies that neither overrun nor end inside a character; and decimal numbers.
 * Pure. */
#ifndef ASYA_BASE_TEXT_H
#define ASYA_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Copies as much of `source` as fits into `size` bytes with its NUL (size > 0), cut at a character's border. */
void text_copy(char *target, size_t size, const char *source);

/* Removes a UTF-8 sequence that the end of the string cuts in two. */
void text_trim_partial(char *text);

/* The largest n <= limit such that cutting `size` bytes of UTF-8 at n splits no character. */
size_t text_cut(const char *bytes, size_t size, size_t limit);

/* Reads a run of decimal digits: no sign, no space. Returns where they end; or NULL, and writes nothing, if there is no
 * digit or the number does not fit. */
const char *text_number(const char *text, uint64_t *ret_value);

#endif
