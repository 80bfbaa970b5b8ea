#include "json/escape.h"

#include "json/block.h"

/* The letter of the two-byte escape, or 0 where it takes \u00NN. */
static char short_escape(unsigned char byte)
{
    switch (byte) {
    case '"':
    case '\\':
        return (char)byte;
    case '\b':
        return 'b';
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\f':
        return 'f';
    case '\r':
        return 'r';
    default:
        return 0;
    }
}

#ifdef BLOCK_SSE2
/* How many of the 16 bytes at `at` come before the first that must be escaped. */
static unsigned block_unescaped(const unsigned char *at)
{
    __m128i block = block_load(at);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block); /* unsigned: up to 0x1F */
    __m128i found = _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(_mm_or_si128(found, control)) | 0x10000U);
}
#endif

size_t escape_plain(const unsigned char *at, size_t size)
{
    size_t done = 0;
#ifdef BLOCK_SSE2
    for (; size - done >= BLOCK_SIZE; done += BLOCK_SIZE) {
        unsigned plain = block_unescaped(at + done);
        if (plain < BLOCK_SIZE) {
            return done + plain;
        }
    }
#endif
    while (done < size && at[done] >= 0x20 && at[done] != '"' && at[done] != '\\') {
        done++;
    }
    return done;
}

static enum buffer_status append_escape(struct buffer *out, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    char letter = short_escape(byte);
    if (letter != 0) {
        char pair[2] = {'\\', letter};
        return buffer_append(out, pair, sizeof pair);
    }
    char six[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    return buffer_append(out, six, sizeof six);
}

enum buffer_status escape_append(struct buffer *out, const unsigned char *at, size_t size)
{
    size_t done = 0;
    for (;;) {
        size_t plain = escape_plain(at + done, size - done);
        enum buffer_status status = buffer_append(out, at + done, plain);
        done += plain;
        if (status != BUFFER_OK || done == size) {
            return status;
        }
        status = append_escape(out, at[done++]);
        if (status != BUFFER_OK) {
            return status;
        }
    }
}

enum buffer_status escape_string(struct buffer *out, const unsigned char *at, size_t size)
{
    enum buffer_status status = buffer_append(out, "\"", 1);
    if (status == BUFFER_OK) {
        status = escape_append(out, at, size);
    }
    return status == BUFFER_OK ? buffer_append(out, "\"", 1) : status;
}
