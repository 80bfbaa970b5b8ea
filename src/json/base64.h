/* Bytes as base64 text with the standard alphabet and padding (RFC 4648, section 4). Pure, no allocation. */
#ifndef ASYA_JSON_BASE64_H
#define ASYA_JSON_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Characters that `size` bytes take; false where that overflows. */
static inline bool base64_size(size_t size, size_t *ret_size)
{
    return !__builtin_mul_overflow(size / 3 + (size % 3 != 0), (size_t)4, ret_size);
}

/* Writes base64_size(size) characters at `out` and returns the place behind them. */
unsigned char *base64_write(unsigned char *out, const unsigned char *bytes, size_t size);

#endif
