#include "json/escape.h"

#include "json/character.h"
#include "json/utf8.h"

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

size_t escape_copy_blocks(unsigned char *out, const unsigned char *text, size_t size)
{
    if (size < BLOCK_SIZE) {
        block_copy_before(out, text + size, size);
        return block_plain_before(text + size, size);
    }
    size_t at = 0, last = size - BLOCK_SIZE; /* the last block overlaps the one before it */
    for (; at + MARKS_SIZE < size && block_all_plain(text + at); at += MARKS_SIZE) {
        memcpy(out + at, text + at, MARKS_SIZE);
    }
    for (;; at += BLOCK_SIZE) {
        at = at < last ? at : last;
        unsigned plain = block_plain(text + at);
        memcpy(out + at, text + at, BLOCK_SIZE);
        if (plain < BLOCK_SIZE || at == last) {
            return at + plain;
        }
    }
}

#ifdef ESCAPE_CHOOSES

#include <cpuid.h>
#include <immintrin.h>

#define WIDE __attribute__((target("avx512bw,avx512vl,bmi2")))

enum { WIDE_SIZE = 32 }; /* of a vector: all 64 bytes would slow down the clock of some processors */

/* Those of 32 bytes that must be escaped; only the bytes of `mask` are read, and written. */
WIDE static inline uint32_t copy_wide(unsigned char *out, const unsigned char *text, uint32_t mask)
{
    __m256i block = _mm256_maskz_loadu_epi8(mask, text);
    _mm256_mask_storeu_epi8(out, mask, block);
    return _mm256_mask_cmplt_epu8_mask(mask, block, _mm256_set1_epi8(0x20)) |
           _mm256_cmpeq_epi8_mask(block, _mm256_set1_epi8('"')) | _mm256_cmpeq_epi8_mask(block, _mm256_set1_epi8('\\'));
}

/* AVX-512 reads and writes a part of a vector, so no length needs a way of its own. */
WIDE static size_t escape_copy_wide(unsigned char *out, const unsigned char *text, size_t size)
{
    for (size_t at = 0;; at += WIDE_SIZE) {
        size_t rest = size - at;
        uint32_t found =
            copy_wide(out + at, text + at, rest < WIDE_SIZE ? _bzhi_u32(UINT32_MAX, (unsigned)rest) : UINT32_MAX);
        if (found != 0) {
            return at + (unsigned)__builtin_ctz(found);
        }
        if (rest <= WIDE_SIZE) {
            return size;
        }
    }
}

escape_copy *escape_copy_plain = escape_copy_blocks;

__attribute__((constructor)) static void escape_choose(void)
{
    enum { XSAVE = 1u << 27, NEEDED = 1u << 8 | 1u << 16 | 1u << 30 | 1u << 31, STATE = 0xE6 };
    unsigned a, b, c, d, state;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & XSAVE) == 0) {
        return;
    }
    __asm__("xgetbv" : "=a"(state), "=d"(d) : "c"(0)); /* what the system saves of a thread */
    if ((state & STATE) == STATE && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & NEEDED) == NEEDED) {
        escape_copy_plain = escape_copy_wide;
    }
}

#endif

unsigned char *escape_ascii(unsigned char *out, const unsigned char *text, size_t size)
{
    const unsigned char *end = text + size;
    for (;;) {
        size_t plain = escape_copy_plain(out, text, (size_t)(end - text));
        out += plain;
        text += plain;
        if (text == end) {
            return out;
        }
        out = character_put_ascii(out, *text++);
    }
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
