#include "json/utf8.h"

#include <string.h>

size_t utf8_valid_prefix(const unsigned char *bytes, size_t size)
{
    const unsigned char *at = bytes, *end = bytes + size;
    while (at < end) {
        uint64_t words[2];
        while (end - at >= (ptrdiff_t)sizeof words) {
            memcpy(words, at, sizeof words);
            if ((words[0] | words[1]) & 0x8080808080808080) {
                break;
            }
            at += sizeof words;
        }
        size_t length = utf8_sequence(at, end);
        if (length == 0) {
            break;
        }
        at += length;
    }
    return (size_t)(at - bytes);
}
