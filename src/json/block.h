/*
 * Sixteen or sixty-four bytes at a time: which of them matter to JSON. Pure; SSE2, NEON or plain C, chosen by the
 * compiler's target, all with the same results.
 */
#ifndef ASYA_JSON_BLOCK_H
#define ASYA_JSON_BLOCK_H

#include <stdbool.h>
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

/* Eight bytes, the first lowest. */
static inline uint64_t block_word(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Writes eight bytes, the first from the lowest bits. */
static inline void block_put_word(unsigned char *out, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(out, &word, sizeof word);
}

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

/* Which bytes are no quote, no backslash, not below 0x20 and not above 0x7F. With its second bit turned over the quote
 * joins the control characters and nothing else does; signed, so do bytes above 0x7F. */
static inline __m128i block_common(const unsigned char *at)
{
    __m128i block = block_load(at);
    __m128i high = _mm_cmpgt_epi8(_mm_xor_si128(block, _mm_set1_epi8(2)), _mm_set1_epi8(0x20));
    return _mm_andnot_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('\\')), high);
}

/* How many of the 16 bytes at `at` come before the first that is a quote, a backslash, below 0x20 or above 0x7F. */
static inline unsigned block_plain(const unsigned char *at)
{
    return (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(block_common(at)));
}

/* The same among the last `size` (0 to 16) bytes before `end`; all 16 are read. */
static inline unsigned block_plain_before(const unsigned char *end, size_t size)
{
    unsigned found = ~(unsigned)_mm_movemask_epi8(block_common(end - BLOCK_SIZE));
    return (unsigned)__builtin_ctz(found >> (BLOCK_SIZE - size)); /* from the seventeenth bit on all are set */
}

/* There is no such byte among the 64 at `at`. */
static inline bool block_all_plain(const unsigned char *at)
{
    __m128i low = _mm_and_si128(block_common(at), block_common(at + 16));
    __m128i high = _mm_and_si128(block_common(at + 32), block_common(at + 48));
    return _mm_movemask_epi8(_mm_and_si128(low, high)) == 0xFFFF;
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

#define BLOCK_TEXT 1 /* there is what follows, for text that is not ASCII */

/* Where the bits of `block` are at least `byte`, unsigned. */
static inline __m128i block_from(__m128i block, unsigned char byte)
{
    return _mm_cmpeq_epi8(_mm_max_epu8(block, _mm_set1_epi8((char)byte)), block);
}

/* Is `second` a byte that may not follow `first`? The four leads that narrow the range of the second byte; that it is a
 * continuation byte at all is seen to elsewhere. Comparisons are signed, which keeps the order among those. */
static inline __m128i block_wrong_second(__m128i first, __m128i second)
{
    __m128i after_e0 = _mm_and_si128(_mm_cmpeq_epi8(first, _mm_set1_epi8((char)0xE0)),
                                     _mm_cmplt_epi8(second, _mm_set1_epi8((char)0xA0)));
    __m128i after_ed = _mm_and_si128(_mm_cmpeq_epi8(first, _mm_set1_epi8((char)0xED)),
                                     _mm_cmpgt_epi8(second, _mm_set1_epi8((char)0x9F)));
    __m128i after_f0 = _mm_and_si128(_mm_cmpeq_epi8(first, _mm_set1_epi8((char)0xF0)),
                                     _mm_cmplt_epi8(second, _mm_set1_epi8((char)0x90)));
    __m128i after_f4 = _mm_and_si128(_mm_cmpeq_epi8(first, _mm_set1_epi8((char)0xF4)),
                                     _mm_cmpgt_epi8(second, _mm_set1_epi8((char)0x8F)));
    return _mm_or_si128(_mm_or_si128(after_e0, after_ed), _mm_or_si128(after_f0, after_f4));
}

/* Bytes of `block` that may not follow what comes before them, or stand nowhere; `one`, `two` and `three` are the
 * blocks that begin as many bytes earlier. */
static inline __m128i block_wrong(__m128i block, __m128i one, __m128i two, __m128i three)
{
    __m128i must = _mm_or_si128(
        _mm_subs_epu8(one, _mm_set1_epi8((char)0xBF)), /* not 0: a lead asks for it */
        _mm_or_si128(_mm_subs_epu8(two, _mm_set1_epi8((char)0xDF)), _mm_subs_epu8(three, _mm_set1_epi8((char)0xEF))));
    __m128i must_not = _mm_cmpeq_epi8(must, _mm_setzero_si128());
    __m128i continues = _mm_cmplt_epi8(block, _mm_set1_epi8((char)0xC0)); /* signed: 0x80 to 0xBF */
    __m128i overlong = _mm_cmpeq_epi8(_mm_and_si128(block, _mm_set1_epi8((char)0xFE)), _mm_set1_epi8((char)0xC0));
    __m128i nowhere = _mm_or_si128(block_from(block, 0xF5), overlong);
    return _mm_or_si128(_mm_cmpeq_epi8(continues, must_not), _mm_or_si128(nowhere, block_wrong_second(one, block)));
}

/* Quotes, backslashes, control characters. */
static inline unsigned block_stops(__m128i block)
{
    __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(marks, control));
}

/* How many bytes start a character. */
static inline size_t block_characters(__m128i block)
{
    __m128i starts = _mm_cmpgt_epi8(block, _mm_set1_epi8((char)0xBF)); /* signed: below 0x80 and from 0xC0 on */
    __m128i sums = _mm_sad_epu8(_mm_sub_epi8(_mm_setzero_si128(), starts), _mm_setzero_si128());
    return (size_t)_mm_cvtsi128_si32(sums) + (size_t)_mm_extract_epi16(sums, 4);
}

/* The first `count` (0 to 16) bytes of `block`; continuation bytes, which count for nothing, in place of the rest. */
static inline __m128i block_head(__m128i block, unsigned count)
{
    static const unsigned char window[2 * BLOCK_SIZE] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                                         0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    __m128i keep = block_load(window + BLOCK_SIZE - count);
    return _mm_or_si128(_mm_and_si128(keep, block), _mm_andnot_si128(keep, _mm_set1_epi8((char)0x80)));
}

/* The largest byte. */
static inline unsigned block_largest(__m128i block)
{
    block = _mm_max_epu8(block, _mm_srli_si128(block, 8));
    block = _mm_max_epu8(block, _mm_srli_si128(block, 4));
    block = _mm_max_epu8(block, _mm_srli_si128(block, 2));
    block = _mm_max_epu8(block, _mm_srli_si128(block, 1));
    return (unsigned)_mm_cvtsi128_si32(block) & 0xFF;
}

/* The run of two-byte characters at `at`, at most eight, as 2 bytes each; writes all 16 bytes of `out` whatever it
 * finds. How many characters the run has. */
static inline unsigned block_pairs(const unsigned char *at, unsigned char *out)
{
    __m128i block = block_load(at); /* in each 16 bits the lead is low, the continuation high */
    __m128i lead = _mm_slli_epi16(_mm_and_si128(block, _mm_set1_epi16(0x1F)), 6);
    __m128i rest = _mm_and_si128(_mm_srli_epi16(block, 8), _mm_set1_epi16(0x3F));
    __m128i marks = _mm_and_si128(block, _mm_set1_epi16((short)0xC0E0));
    __m128i codes = _mm_or_si128(lead, rest);
    memcpy(out, &codes, sizeof codes);
    unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi16(marks, _mm_set1_epi16((short)0x80C0)));
    return (unsigned)__builtin_ctz(~found) / 2;
}

/* The 16 bytes at `at` as characters of `width` (1, 2 or 4) bytes. */
static inline void block_widen(const unsigned char *at, unsigned char *out, size_t width)
{
    __m128i block = block_load(at), zero = _mm_setzero_si128();
    if (width == 1) {
        memcpy(out, &block, sizeof block);
        return;
    }
    __m128i halves[2] = {_mm_unpacklo_epi8(block, zero), _mm_unpackhi_epi8(block, zero)};
    if (width == 2) {
        memcpy(out, halves, sizeof halves);
        return;
    }
    __m128i quarters[4] = {_mm_unpacklo_epi16(halves[0], zero), _mm_unpackhi_epi16(halves[0], zero),
                           _mm_unpacklo_epi16(halves[1], zero), _mm_unpackhi_epi16(halves[1], zero)};
    memcpy(out, quarters, sizeof quarters);
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

static inline uint8x16_t block_special(const unsigned char *at)
{
    uint8x16_t block = vld1q_u8(at);
    uint8x16_t low = vcltq_s8(vreinterpretq_s8_u8(veorq_u8(block, vdupq_n_u8(2))), vdupq_n_s8(0x21)); /* as above */
    return vorrq_u8(low, vceqq_u8(block, vdupq_n_u8('\\')));
}

static inline unsigned block_plain(const unsigned char *at) { return block_first(block_special(at)); }

static inline unsigned block_plain_before(const unsigned char *end, size_t size)
{
    uint64_t found = block_nibbles(block_special(end - BLOCK_SIZE)); /* shifted by up to 64 bits */
    found = found >> (2 * (BLOCK_SIZE - size)) >> (2 * (BLOCK_SIZE - size));
    unsigned plain = found ? (unsigned)__builtin_ctzll(found) >> 2 : BLOCK_SIZE;
    return plain < size ? plain : (unsigned)size;
}

static inline bool block_all_plain(const unsigned char *at)
{
    uint8x16_t low = vorrq_u8(block_special(at), block_special(at + 16));
    return vmaxvq_u8(vorrq_u8(low, vorrq_u8(block_special(at + 32), block_special(at + 48)))) == 0;
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

static inline unsigned block_plain_before(const unsigned char *end, size_t size)
{
    for (size_t plain = 0; plain < size; plain++) {
        unsigned char byte = *(end - size + plain);
        if (byte == '"' || byte == '\\' || byte < 0x20 || byte >= 0x80) {
            return (unsigned)plain;
        }
    }
    return (unsigned)size;
}

static inline bool block_all_plain(const unsigned char *at)
{
    uint64_t found = 0;
    for (unsigned i = 0; i < MARKS_SIZE; i += 8) {
        found |= block_special(block_word(at + i));
    }
    return found == 0;
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

/* Writes 16 bytes, of which the first `size` (0 to 16) are the last ones before `end`; 16 bytes are read there. */
static inline void block_copy_before(unsigned char *out, const unsigned char *end, size_t size)
{
    __extension__ unsigned __int128 words = block_word(end - 8);
    words = words << 64 | block_word(end - BLOCK_SIZE);
    words >>= (8 * (BLOCK_SIZE - size)) & 127; /* of nothing, anything will do */
    block_put_word(out, (uint64_t)words);
    block_put_word(out + 8, (uint64_t)(words >> 64));
}

#ifndef BLOCK_TEXT

static inline void block_widen(const unsigned char *at, unsigned char *out, size_t width)
{
    for (unsigned i = 0; i < BLOCK_SIZE; i++) {
        uint32_t code = at[i];
        uint16_t half = at[i];
        memcpy(out + i * width, width == 1 ? (const void *)(at + i) : width == 2 ? (const void *)&half : &code, width);
    }
}

#endif

#endif
