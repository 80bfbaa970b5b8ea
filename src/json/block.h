/*
 * Sixteen or sixty-four bytes at a time: which of them matter to JSON. Pure; SSE2, NEON or plain C, chosen by the
 * compiler's target, all with the same results.
 */
#ifndef ASYA_JSON_BLOCK_H
#define ASYA_JSON_BLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(ASYA_PORTABLE)
#define BLOCK_SSE2 1
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(ASYA_PORTABLE)
#define BLOCK_NEON 1
#include <arm_neon.h>
#endif

enum { BLOCK_SIZE = 16, MARKS_SIZE = 64 };

/* One bit for each of 64 bytes, the first byte lowest. */
struct marks {
    uint64_t quotes, backslashes;
    uint64_t opens, closes; /* brackets of both kinds */
};

#ifdef BLOCK_SSE2

static inline __m128i block_load(const unsigned char *at)
{
    __m128i block;
    memcpy(&block, at, sizeof block);
    return block;
}

static inline unsigned block_equal(__m128i block, char byte)
{
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8(byte)));
}

/* How many of the 16 bytes at `at` come before the first that is a quote, a backslash, below 0x20 or above 0x7F. */
static inline unsigned block_plain(const unsigned char *at)
{
    __m128i block = block_load(at);
    __m128i found = _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
    found = _mm_or_si128(found, _mm_cmplt_epi8(block, _mm_set1_epi8(0x20))); /* signed: bytes above 0x7F are below 0 */
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(found) | 0x10000u);
}

/* How many of the 16 bytes at `at` come before the first that is not a space. */
static inline unsigned block_spaces(const unsigned char *at)
{
    return (unsigned)__builtin_ctz(~block_equal(block_load(at), ' '));
}

static inline struct marks block_marks(const unsigned char *at)
{
    struct marks marks = {0};
    for (unsigned i = 0; i < MARKS_SIZE; i += BLOCK_SIZE) {
        __m128i block = block_load(at + i);
        __m128i folded =
            _mm_or_si128(block, _mm_set1_epi8(0x20)); /* '[' and '{' differ in this bit only, as ']' and '}' */
        marks.quotes |= (uint64_t)block_equal(block, '"') << i;
        marks.backslashes |= (uint64_t)block_equal(block, '\\') << i;
        marks.opens |= (uint64_t)block_equal(folded, '{') << i;
        marks.closes |= (uint64_t)block_equal(folded, '}') << i;
    }
    return marks;
}

#elif defined(BLOCK_NEON)

/* Four bits for each byte. */
static inline uint64_t block_nibbles(uint8x16_t found)
{
    return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(found), 4)), 0);
}

static inline unsigned block_first(uint8x16_t found)
{
    uint64_t nibbles = block_nibbles(found);
    return nibbles ? (unsigned)__builtin_ctzll(nibbles) >> 2 : BLOCK_SIZE;
}

static inline unsigned block_plain(const unsigned char *at)
{
    uint8x16_t block = vld1q_u8(at);
    uint8x16_t found = vorrq_u8(vceqq_u8(block, vdupq_n_u8('"')), vceqq_u8(block, vdupq_n_u8('\\')));
    return block_first(vorrq_u8(found, vcltq_s8(vreinterpretq_s8_u8(block), vdupq_n_s8(0x20))));
}

static inline unsigned block_spaces(const unsigned char *at)
{
    return block_first(vmvnq_u8(vceqq_u8(vld1q_u8(at), vdupq_n_u8(' '))));
}

static inline uint64_t block_mask64(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    const uint8x16_t bits = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t ab = vpaddq_u8(vandq_u8(a, bits), vandq_u8(b, bits));
    uint8x16_t cd = vpaddq_u8(vandq_u8(c, bits), vandq_u8(d, bits));
    ab = vpaddq_u8(ab, cd);
    ab = vpaddq_u8(ab, ab);
    return vgetq_lane_u64(vreinterpretq_u64_u8(ab), 0);
}

static inline struct marks block_marks(const unsigned char *at)
{
    uint8x16_t a = vld1q_u8(at), b = vld1q_u8(at + 16), c = vld1q_u8(at + 32), d = vld1q_u8(at + 48);
    uint8x16_t fold = vdupq_n_u8(0x20), open = vdupq_n_u8('{'), close = vdupq_n_u8('}');
    uint8x16_t quote = vdupq_n_u8('"'), backslash = vdupq_n_u8('\\');
    struct marks marks;
    marks.quotes = block_mask64(vceqq_u8(a, quote), vceqq_u8(b, quote), vceqq_u8(c, quote), vceqq_u8(d, quote));
    marks.backslashes =
        block_mask64(vceqq_u8(a, backslash), vceqq_u8(b, backslash), vceqq_u8(c, backslash), vceqq_u8(d, backslash));
    a = vorrq_u8(a, fold), b = vorrq_u8(b, fold), c = vorrq_u8(c, fold), d = vorrq_u8(d, fold);
    marks.opens = block_mask64(vceqq_u8(a, open), vceqq_u8(b, open), vceqq_u8(c, open), vceqq_u8(d, open));
    marks.closes = block_mask64(vceqq_u8(a, close), vceqq_u8(b, close), vceqq_u8(c, close), vceqq_u8(d, close));
    return marks;
}

#else

static inline uint64_t block_word(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* The top bit of each byte that is zero, and of no other. */
static inline uint64_t block_zeros(uint64_t word)
{
    return ~(((word & 0x7F7F7F7F7F7F7F7F) + 0x7F7F7F7F7F7F7F7F) | word) & 0x8080808080808080;
}

static inline uint64_t block_equal(uint64_t word, unsigned char byte)
{
    return block_zeros(word ^ (byte * 0x0101010101010101u));
}

static inline unsigned block_first(uint64_t low, uint64_t high)
{
    if (low) {
        return (unsigned)__builtin_ctzll(low) >> 3;
    }
    return high ? 8 + ((unsigned)__builtin_ctzll(high) >> 3) : BLOCK_SIZE;
}

static inline uint64_t block_special(uint64_t word)
{
    uint64_t low =
        (word & 0x7F7F7F7F7F7F7F7F) + 0x6060606060606060; /* top bit clear: the low seven bits are below 0x20 */
    return block_equal(word, '"') | block_equal(word, '\\') | ((~low | word) & 0x8080808080808080);
}

static inline unsigned block_plain(const unsigned char *at)
{
    return block_first(block_special(block_word(at)), block_special(block_word(at + 8)));
}

static inline unsigned block_spaces(const unsigned char *at)
{
    uint64_t low = ~block_equal(block_word(at), ' '), high = ~block_equal(block_word(at + 8), ' ');
    return block_first(low & 0x8080808080808080, high & 0x8080808080808080);
}

/* The top bits of eight bytes, gathered: each product term lands in the highest byte at its own place. */
static inline uint64_t block_gather(uint64_t tops) { return ((tops >> 7) * 0x0102040810204080) >> 56; }

static inline struct marks block_marks(const unsigned char *at)
{
    struct marks marks = {0};
    for (unsigned i = 0; i < MARKS_SIZE; i += 8) {
        uint64_t word = block_word(at + i), folded = word | 0x2020202020202020;
        marks.quotes |= block_gather(block_equal(word, '"')) << i;
        marks.backslashes |= block_gather(block_equal(word, '\\')) << i;
        marks.opens |= block_gather(block_equal(folded, '{')) << i;
        marks.closes |= block_gather(block_equal(folded, '}')) << i;
    }
    return marks;
}

#endif

#endif
