#include "json/string.h"

#include "json/utf8.h"

/* What a byte is worth as a hexadecimal digit, plus one; 0 for all others. */
static const uint8_t hex_values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

/* What the letter after a backslash stands for; 0 for letters that stand for nothing ('u' is none of these). */
static const uint8_t escape_values[256] = {
    ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
};

/* The four hexadecimal digits at `at`, or -1. */
static inline int32_t hex4(const unsigned char *at)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        if (hex_values[at[i]] == 0) {
            return -1;
        }
        value = value << 4 | (hex_values[at[i]] - 1);
    }
    return value;
}

/* The code point of the escape at `*at` (a backslash), which is advanced behind it; -1, and nothing moved, if it is
 * none. A high surrogate takes the escape of a low one behind it with it. */
static inline int32_t take_escape(const unsigned char **at, const unsigned char *end)
{
    const unsigned char *p = *at;
    if (end - p < 2) {
        return -1;
    }
    if (p[1] != 'u') {
        *at += escape_values[p[1]] ? 2 : 0;
        return escape_values[p[1]] ? escape_values[p[1]] : -1;
    }
    int32_t high = end - p < 6 ? -1 : hex4(p + 2);
    if (high < 0) {
        return -1;
    }
    *at = p + 6;
    if ((high & 0xFC00) == 0xD800 && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
        int32_t low = hex4(p + 8);
        if ((low & ~0x3FF) == 0xDC00) {
            *at = p + 12;
            return 0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF);
        }
    }
    return high;
}

/* A run of bytes above 0x7F. Advances `*at` over valid sequences, counts them, and ORs something at least as wide as
 * each code point's class into `*wide`. False at a wrong sequence. */
static inline bool measure_run(const unsigned char **at, const unsigned char *end, size_t *length, uint32_t *wide)
{
    const unsigned char *p = *at;
    size_t count = 0;
    while (p < end && *p >= 0x80) {
        size_t size = utf8_sequence(p, end);
        if (size == 0) {
            break;
        }
        /* C2 and C3 lead to U+00FF at most, the leads up to EF to U+FFFF. */
        *wide |= size == 2 ? (*p < 0xC4 ? 0xFFu : 0xFFFFu) : size == 3 ? 0xFFFFu : 0x10FFFFu;
        p += size;
        count++;
    }
    *at = p;
    *length += count;
    return p == end || *p < 0x80;
}

#ifdef BLOCK_TEXT

/* Bytes of a character that lies across `at`, where the blocks end: those before `at`. */
static size_t cut_character(const unsigned char *at)
{
    for (size_t back = 1; back <= 3; back++) {
        if (at[-(ptrdiff_t)back] >= 0xC0) {
            size_t size = at[-(ptrdiff_t)back] < 0xE0 ? 2 : at[-(ptrdiff_t)back] < 0xF0 ? 3 : 4;
            return size > back ? back : 0;
        }
    }
    return 0;
}

/* As measure_run, but goes on over ASCII, up to a quote, a backslash, a control character or the last whole block. What
 * is wrong is left for measure_run to find: then nothing moves. */
static void measure_blocks(const unsigned char **at, const unsigned char *end, size_t *length, uint32_t *wide)
{
    const unsigned char *p = *at;
    if (end - p < BLOCK_SIZE) {
        return;
    }
    __m128i block = block_load(p), largest = _mm_setzero_si128(); /* what comes before the first block is not read */
    __m128i wrong = block_wrong(block, _mm_slli_si128(block, 1), _mm_slli_si128(block, 2), _mm_slli_si128(block, 3));
    unsigned stops = block_stops(block);
    size_t count = 0;
    while (stops == 0) {
        count += block_characters(block);
        largest = _mm_max_epu8(largest, block);
        p += BLOCK_SIZE;
        if (_mm_movemask_epi8(wrong)) {
            return;
        }
        if (end - p < BLOCK_SIZE) {
            size_t cut = cut_character(p);
            p -= cut;
            count -= cut > 0;
            break;
        }
        block = block_load(p);
        wrong = block_wrong(block, block_load(p - 1), block_load(p - 2), block_load(p - 3));
        stops = block_stops(block);
    }
    if (stops != 0) {
        unsigned used = (unsigned)__builtin_ctz(stops);
        if ((unsigned)_mm_movemask_epi8(wrong) & ((2u << used) - 1)) { /* a stop inside of a character is wrong there */
            return;
        }
        block = block_head(block, used);
        count += block_characters(block);
        largest = _mm_max_epu8(largest, block);
        p += used;
    }
    unsigned lead = block_largest(largest);
    *wide |= lead >= 0xF0 ? 0x10FFFFu : lead >= 0xC4 ? 0xFFFFu : 0xFFu;
    *length += count;
    *at = p;
}

#else

static void measure_blocks(const unsigned char **at, const unsigned char *end, size_t *length, uint32_t *wide)
{
    (void)at, (void)end, (void)length, (void)wide;
}

#endif

static inline uint32_t string_class_of(uint32_t code)
{
    return code < 0x80 ? 0x7F : code < 0x100 ? 0xFF : code < 0x10000 ? 0xFFFF : 0x10FFFF;
}

enum string_status string_measure(const unsigned char *at, const unsigned char *end, struct string_shape *ret_shape)
{
    struct string_shape shape = {.widest = 0x7F};
    enum string_status status = STRING_OPEN;
    for (;;) {
        if (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') {
            const unsigned char *run = string_plain(at, end);
            shape.length += (size_t)(run - at);
            at = run;
        }
        if (at == end) {
            break;
        }
        if (*at == '"') {
            status = STRING_OK;
            break;
        }
        if (*at == '\\') {
            int32_t code = take_escape(&at, end);
            if (code < 0) {
                status = end - at < 2 ? STRING_OPEN : STRING_ESCAPE;
                break;
            }
            shape.escaped = true;
            shape.widest |= string_class_of((uint32_t)code);
            shape.length++;
        } else if (*at < 0x20) {
            status = STRING_CONTROL;
            break;
        } else {
            measure_blocks(&at, end, &shape.length, &shape.widest);
            if (!measure_run(&at, end, &shape.length, &shape.widest)) {
                status = STRING_ENCODING;
                break;
            }
        }
    }
    shape.end = at;
    *ret_shape = shape;
    return status;
}

/* Where characters go: `width` bytes each, a constant wherever it matters. */
struct sink {
    unsigned char *at, *end;
    size_t width;
};

#define ALWAYS_INLINE __attribute__((always_inline)) static inline

ALWAYS_INLINE void put(struct sink *sink, uint32_t code)
{
    uint8_t one = (uint8_t)code;
    uint16_t two = (uint16_t)code;
    memcpy(sink->at,
           sink->width == 1   ? (const void *)&one
           : sink->width == 2 ? (const void *)&two
                              : &code,
           sink->width);
    sink->at += sink->width;
}

/* There is room for `count` characters. */
ALWAYS_INLINE bool has_room(const struct sink *sink, size_t count)
{
    return (size_t)(sink->end - sink->at) >= count * sink->width;
}

/* Runs of ASCII and of two-byte characters are short in most languages, and their lengths hard to predict: a whole
 * block is written where there is room, and only as much of it counts as belongs to the run. */
ALWAYS_INLINE const unsigned char *write_ascii(const unsigned char *at, const unsigned char *end, struct sink *sink)
{
    while (end - at >= BLOCK_SIZE && has_room(sink, BLOCK_SIZE)) {
        unsigned count = block_plain(at);
        block_widen(at, sink->at, sink->width);
        at += count;
        sink->at += count * sink->width;
        if (count < BLOCK_SIZE) {
            return at;
        }
    }
    while (at < end && *at < 0x80 && *at != '\\') {
        put(sink, *at++);
    }
    return at;
}

ALWAYS_INLINE const unsigned char *write_pairs(const unsigned char *at, const unsigned char *end, struct sink *sink)
{
#ifdef BLOCK_TEXT
    while (sink->width == 2 && end - at >= BLOCK_SIZE && has_room(sink, BLOCK_SIZE / 2)) {
        size_t count = block_pairs(at, sink->at);
        at += 2 * count;
        sink->at += 2 * count;
        if (count < BLOCK_SIZE / 2) {
            return at;
        }
    }
#endif
    while (at < end && (*at & 0xE0) == 0xC0) {
        put(sink, (at[0] & 0x1Fu) << 6 | (at[1] & 0x3Fu));
        at += 2;
    }
    return at;
}

/* Two at a time, in two lanes of 24 bits. */
ALWAYS_INLINE const unsigned char *write_triples(const unsigned char *at, const unsigned char *end, struct sink *sink)
{
    const uint64_t lanes = 0x1000001;
    while (end - at >= 8) {
        uint64_t word = block_word(at);
        if ((word & 0xF0 * lanes) != 0xE0 * lanes) {
            break;
        }
        uint64_t codes = (word & 0x0F * lanes) << 12 | (word >> 2 & 0xFC0 * lanes) | (word >> 16 & 0x3F * lanes);
        put(sink, codes & 0xFFFF);
        put(sink, codes >> 24 & 0xFFFF);
        at += 6;
    }
    while (at < end && (*at & 0xF0) == 0xE0) {
        put(sink, (at[0] & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu));
        at += 3;
    }
    return at;
}

/* `shape` promises that all is valid and fits. */
ALWAYS_INLINE void write_all(const unsigned char *at, const struct string_shape *shape, void *out, size_t width)
{
    const unsigned char *end = shape->end;
    struct sink sink = {.at = out, .end = (unsigned char *)out + shape->length * width, .width = width};
    while (at < end) {
        if (*at == '\\') {
            put(&sink, (uint32_t)take_escape(&at, end));
        } else if (*at < 0x80) {
            at = write_ascii(at, end, &sink);
        } else if (*at < 0xE0) {
            at = write_pairs(at, end, &sink);
        } else if (*at < 0xF0) {
            at = write_triples(at, end, &sink);
        } else {
            put(&sink, utf8_take(&at));
        }
    }
}

void string_write_1(const unsigned char *at, const struct string_shape *shape, uint8_t *out)
{
    write_all(at, shape, out, sizeof *out);
}

void string_write_2(const unsigned char *at, const struct string_shape *shape, uint16_t *out)
{
    write_all(at, shape, out, sizeof *out);
}

void string_write_4(const unsigned char *at, const struct string_shape *shape, uint32_t *out)
{
    write_all(at, shape, out, sizeof *out);
}
