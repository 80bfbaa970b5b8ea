#include "json/escape.h"

#include "json/character.h"
#include "json/utf8.h"

enum { STEP = 8 };

/* Copies blocks up to one that holds a byte that must be escaped or is not ASCII, and of that what comes before it, or
 * up to less than a block at the end; advances both. True unless that is the very end. */
static inline bool copy_plain(unsigned char **out_place, const unsigned char **text_place, const unsigned char *end)
{
    const unsigned char *text = *text_place;
    unsigned char *out = *out_place;
    for (; end - text >= MARKS_SIZE && block_all_plain(text); text += MARKS_SIZE, out += MARKS_SIZE) {
        memcpy(out, text, MARKS_SIZE);
    }
    while (end - text >= BLOCK_SIZE) {
        unsigned plain = block_plain(text);
        memcpy(out, text, BLOCK_SIZE);
        if (plain < BLOCK_SIZE) {
            *text_place = text + plain;
            *out_place = out + plain;
            return true;
        }
        text += BLOCK_SIZE; /* not `plain`, which the next round would have to wait for */
        out += BLOCK_SIZE;
    }
    *text_place = text;
    *out_place = out;
    return text < end;
}

unsigned char *escape_bytes(unsigned char *out, const unsigned char *text, size_t size)
{
    const unsigned char *end = text + size;
    while (copy_plain(&out, &text, end)) {
        /* in the last block, and where one byte is an escape the next is not far: a byte at a time */
        const unsigned char *stop = end - text >= STEP ? text + STEP : end;
        for (; text < stop; text++) {
            if (*text < 0x80) {
                out = character_put_ascii(out, *text);
            } else {
                *out++ = *text;
            }
        }
    }
    return out;
}

unsigned char *escape_untrusted(unsigned char *out, const unsigned char *text, size_t size)
{
    const unsigned char *end = text + size;
    while (copy_plain(&out, &text, end)) {
        static const unsigned char unknown[] = {0xEF, 0xBF, 0xBD}; /* U+FFFD */
        size_t sequence = utf8_sequence(text, end);
        if (sequence == 1) {
            out = character_put_ascii(out, *text);
        } else {
            size_t written = sequence > 0 ? sequence : sizeof unknown;
            memcpy(out, sequence > 0 ? text : unknown, written);
            out += written;
        }
        text += sequence > 0 ? sequence : 1;
    }
    return out;
}
