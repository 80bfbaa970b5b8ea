/*
 * The functions of json/escape.h for code points in arrays, of 1, 2 or 4 bytes each.
 *
 * Text mixes scripts: ASCII punctuation between Cyrillic words, a tag among kanji. A branch on the length of each
 * character is mispredicted at every such border, so with SSE2 eight or four characters are converted at once: all
 * forms are computed, the right one is chosen by masks, and stores overlap, each beginning where the sizes of those
 * before it add up to. What must be escaped is rare and goes the plain way, a character at a time.
 */
#include "json/escape.h"

#include "json/character.h"

enum { EIGHT = 8, FOUR = 4 };

#ifdef BLOCK_SSE2

static inline bool is_zero(__m128i block)
{
    return _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_setzero_si128())) == 0xFFFF;
}

static inline void store_two(unsigned char *out, unsigned bytes)
{
    uint16_t word = (uint16_t)bytes;
    memcpy(out, &word, sizeof word);
}

/* Is one of eight units a quote, a backslash or a control character? */
static inline bool needs_escape(__m128i units)
{
    __m128i quote = _mm_cmpeq_epi16(units, _mm_set1_epi16('"')),
            backslash = _mm_cmpeq_epi16(units, _mm_set1_epi16('\\'));
    __m128i control = _mm_cmpeq_epi16(_mm_subs_epu16(units, _mm_set1_epi16(0x1F)), _mm_setzero_si128());
    return _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash))) != 0;
}

static inline bool has_surrogate(__m128i units)
{
    __m128i head = _mm_and_si128(units, _mm_set1_epi16((short)0xF800));
    return _mm_movemask_epi8(_mm_cmpeq_epi16(head, _mm_set1_epi16((short)0xD800))) != 0;
}

/* Is one of eight units not below `limit`? */
static inline bool reaches(__m128i units, short limit)
{
    return !is_zero(_mm_subs_epu16(units, _mm_set1_epi16((short)(limit - 1))));
}

/* Four forms of one byte, or of two where `mask` has its bit. */
static inline unsigned char *put_two_each(unsigned char *out, uint64_t forms, unsigned mask)
{
    store_two(out, (unsigned)forms);
    out += 1 + (mask & 1);
    store_two(out, (unsigned)(forms >> 16));
    out += 1 + (mask >> 1 & 1);
    store_two(out, (unsigned)(forms >> 32));
    out += 1 + (mask >> 2 & 1);
    store_two(out, (unsigned)(forms >> 48));
    return out + 1 + (mask >> 3 & 1);
}

/* Eight units below 0x800, none of which needs an escape, as one or two bytes each. */
static inline unsigned char *put_eight_narrow(unsigned char *out, __m128i units)
{
    __m128i wide = _mm_cmpgt_epi16(units, _mm_set1_epi16(0x7F));
    __m128i low = _mm_slli_epi16(_mm_and_si128(units, _mm_set1_epi16(0x3F)), 8);
    __m128i two = _mm_or_si128(_mm_set1_epi16((short)0x80C0), _mm_or_si128(_mm_srli_epi16(units, 6), low));
    units = _mm_or_si128(_mm_and_si128(wide, two), _mm_andnot_si128(wide, units));
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(wide, wide));
    out = put_two_each(out, (uint64_t)_mm_cvtsi128_si64(units), mask);
    return put_two_each(out, (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(units, units)), mask >> 4);
}

static inline __m128i choose(__m128i mask, __m128i yes, __m128i no)
{
    return _mm_or_si128(_mm_and_si128(mask, yes), _mm_andnot_si128(mask, no));
}

/* Bits `from` to `from` + 5 of each point, as the byte `to` of its form. */
static inline __m128i six_bits(__m128i points, int from, int to)
{
    return _mm_slli_epi32(_mm_and_si128(_mm_srli_epi32(points, from), _mm_set1_epi32(0x3F)), 8 * to);
}

/* Four code points, none a surrogate or in need of an escape, as one to three bytes each, or to four if `four`. */
static inline __attribute__((always_inline)) unsigned char *put_four_points(unsigned char *out, __m128i points,
                                                                            bool four)
{
    __m128i above_one = _mm_cmpgt_epi32(points, _mm_set1_epi32(0x7F)),
            above_two = _mm_cmpgt_epi32(points, _mm_set1_epi32(0x7FF));
    __m128i two = _mm_or_si128(_mm_set1_epi32(0x80C0), _mm_or_si128(_mm_srli_epi32(points, 6), six_bits(points, 0, 1)));
    __m128i three = _mm_or_si128(_mm_or_si128(_mm_set1_epi32(0x8080E0), _mm_srli_epi32(points, 12)),
                                 _mm_or_si128(six_bits(points, 6, 1), six_bits(points, 0, 2)));
    __m128i forms = choose(above_two, three, choose(above_one, two, points));
    __m128i sizes = _mm_sub_epi32(_mm_sub_epi32(_mm_set1_epi32(1), above_one), above_two); /* a mask is -1 */
    if (four) {
        __m128i above_three = _mm_cmpgt_epi32(points, _mm_set1_epi32(0xFFFF));
        __m128i most = _mm_or_si128(
            _mm_or_si128(_mm_set1_epi32((int)0x808080F0), _mm_srli_epi32(points, 18)),
            _mm_or_si128(six_bits(points, 12, 1), _mm_or_si128(six_bits(points, 6, 2), six_bits(points, 0, 3))));
        forms = choose(above_three, most, forms);
        sizes = _mm_sub_epi32(sizes, above_three);
    }
    sizes = _mm_packs_epi32(sizes, sizes);
    uint32_t ends =
        (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(sizes, sizes)) * 0x01010101; /* sums from the first on */
    uint64_t head = (uint64_t)_mm_cvtsi128_si64(forms),
             tail = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(forms, forms));
    character_put_word(out, (uint32_t)head);
    character_put_word(out + (ends & 0xFF), (uint32_t)(head >> 32));
    character_put_word(out + (ends >> 8 & 0xFF), (uint32_t)tail);
    character_put_word(out + (ends >> 16 & 0xFF), (uint32_t)(tail >> 32));
    return out + (ends >> 24);
}

static inline unsigned char *put_eight_ascii(unsigned char *out, __m128i units)
{
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(units, units));
    return out + EIGHT;
}

/* Eight units at `at`; NULL if one needs an escape. */
static inline unsigned char *put_eight_units(unsigned char *out, const uint16_t *at)
{
    __m128i units = block_load((const void *)at);
    if (needs_escape(units)) {
        return NULL;
    }
    if (!reaches(units, 0x80)) {
        return put_eight_ascii(out, units);
    }
    if (!reaches(units, 0x800)) {
        return put_eight_narrow(out, units);
    }
    if (has_surrogate(units)) {
        return NULL;
    }
    out = put_four_points(out, _mm_unpacklo_epi16(units, _mm_setzero_si128()), false);
    return put_four_points(out, _mm_unpackhi_epi16(units, _mm_setzero_si128()), false);
}

/* Eight code points at `at`; NULL if one needs an escape. */
static inline unsigned char *put_eight_points(unsigned char *out, const uint32_t *at)
{
    __m128i first = block_load((const void *)at), second = block_load((const void *)(at + FOUR));
    /* as units, for the questions only; what is above 0x7FFF becomes that, by a signed saturation */
    __m128i units = _mm_packs_epi32(first, second);
    __m128i head = _mm_set1_epi32((int)0xFFFFF800), surrogate = _mm_set1_epi32(0xD800);
    __m128i surrogates = _mm_or_si128(_mm_cmpeq_epi32(_mm_and_si128(first, head), surrogate),
                                      _mm_cmpeq_epi32(_mm_and_si128(second, head), surrogate));
    if (needs_escape(units) || !is_zero(surrogates)) {
        return NULL;
    }
    if (!reaches(units, 0x80)) {
        return put_eight_ascii(out, units);
    }
    out = put_four_points(out, first, true);
    return put_four_points(out, second, true);
}

/* Eight bytes, Latin-1, at `at`; NULL if one needs an escape. */
static inline unsigned char *put_eight_bytes(unsigned char *out, const uint8_t *at)
{
    __m128i units = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)at), _mm_setzero_si128());
    return needs_escape(units) ? NULL : put_eight_narrow(out, units);
}

#else

/* All the plain way. */
static inline unsigned char *put_none(void) { return NULL; }

#define put_eight_bytes(out, at)  put_none()
#define put_eight_units(out, at)  put_none()
#define put_eight_points(out, at) put_none()

#endif

unsigned char *escape_latin1(unsigned char *out, const uint8_t *text, size_t size)
{
    const uint8_t *end = text + size;
    while (end - text >= EIGHT) {
        if (end - text >= BLOCK_SIZE) {
            unsigned plain = block_plain(text);
            memcpy(out, text, BLOCK_SIZE);
            if (plain >= EIGHT) {
                out += plain;
                text += plain;
                continue;
            }
        }
        unsigned char *next = put_eight_bytes(out, text);
        for (int i = 0; next == NULL && i < EIGHT; i++) {
            out = character_put(out, text[i]);
        }
        out = next != NULL ? next : out;
        text += EIGHT;
    }
    for (; text < end; text++) {
        out = character_put(out, *text);
    }
    return out;
}

/* Both wide forms, which differ in their units alone: eight at a time, or one by one where one of these needs an
 * escape.
 */
#define ESCAPE_WIDE(name, unit, put_eight)                                                                             \
    unsigned char *name(unsigned char *out, const unit *text, size_t size)                                             \
    {                                                                                                                  \
        const unit *end = text + size;                                                                                 \
        for (; end - text >= EIGHT; text += EIGHT) {                                                                   \
            unsigned char *next = put_eight(out, text);                                                                \
            for (int i = 0; next == NULL && i < EIGHT; i++) {                                                          \
                out = character_put(out, text[i]);                                                                     \
            }                                                                                                          \
            out = next != NULL ? next : out;                                                                           \
        }                                                                                                              \
        for (; text < end; text++) {                                                                                   \
            out = character_put(out, *text);                                                                           \
        }                                                                                                              \
        return out;                                                                                                    \
    }

ESCAPE_WIDE(escape_ucs2, uint16_t, put_eight_units)
ESCAPE_WIDE(escape_ucs4, uint32_t, put_eight_points)
