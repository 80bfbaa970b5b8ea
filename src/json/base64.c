#include "json/base64.h"

#include <stdint.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static inline void write_four(unsigned char *out, uint32_t bits)
{
    out[0] = (unsigned char)letters[bits >> 18];
    out[1] = (unsigned char)letters[bits >> 12 & 63];
    out[2] = (unsigned char)letters[bits >> 6 & 63];
    out[3] = (unsigned char)letters[bits & 63];
}

unsigned char *base64_write(unsigned char *out, const unsigned char *bytes, size_t size)
{
    const unsigned char *end = bytes + size;
    for (; end - bytes >= 3; bytes += 3, out += 4) {
        write_four(out, (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2]);
    }
    if (bytes < end) {
        bool two = end - bytes == 2;
        write_four(out, (uint32_t)bytes[0] << 16 | (two ? (uint32_t)bytes[1] << 8 : 0));
        out[2] = two ? out[2] : '=';
        out[3] = '=';
        out += 4;
    }
    return out;
}
