#include "base/text.h"

#include <string.h>

/* Bytes a sequence that starts with `lead` has; 1 for ASCII and for bytes that start none. */
static size_t sequence_size(unsigned char lead)
{
    if (lead >= 0xF0) {
        return 4;
    }
    if (lead >= 0xE0) {
        return 3;
    }
    return lead >= 0xC0 ? 2 : 1;
}

size_t text_cut(const char *bytes, size_t size, size_t limit)
{
    if (size <= limit) {
        return size;
    }
    size_t cut = limit;
    while (cut > 0 && limit - cut < 3 && ((unsigned char)bytes[cut] & 0xC0) == 0x80) {
        cut--;
    }
    return cut;
}

void text_copy(char *target, size_t size, const char *source)
{
    size_t length = text_cut(source, strlen(source), size - 1);
    memcpy(target, source, length);
    target[length] = '\0';
}

void text_trim_partial(char *text)
{
    size_t length = strlen(text);
    size_t lead = length;
    while (lead > 0 && length - lead < 4) {
        lead--;
        if (((unsigned char)text[lead] & 0xC0) != 0x80) {
            if (sequence_size((unsigned char)text[lead]) > length - lead) {
                text[lead] = '\0';
            }
            return;
        }
    }
}

const char *text_number(const char *text, uint64_t *ret_value)
{
    const char *next = text;
    uint64_t value = 0;
    for (; *next >= '0' && *next <= '9'; next++) {
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*next - '0'), &value)) {
            return NULL;
        }
    }
    if (next == text) {
        return NULL;
    }
    *ret_value = value;
    return next;
}
