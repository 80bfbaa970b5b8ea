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

static inline uint32_t class_of(uint32_t code)
{
    return code < 0x80 ? 0x7F : code < 0x100 ? 0xFF : code < 0x10000 ? 0xFFFF : 0x10FFFF;
}

enum string_status string_measure(const unsigned char *at, const unsigned char *end, struct string_shape *ret_shape)
{
    struct string_shape shape = {.widest = 0x7F};
    enum string_status status = STRING_OPEN;
    for (;;) {
        const unsigned char *run = string_plain(at, end);
        shape.length += (size_t)(run - at);
        at = run;
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
            shape.widest |= class_of((uint32_t)code);
            shape.length++;
        } else if (*at < 0x20) {
            status = STRING_CONTROL;
            break;
        } else if (!measure_run(&at, end, &shape.length, &shape.widest)) {
            status = STRING_ENCODING;
            break;
        }
    }
    shape.end = at;
    *ret_shape = shape;
    return status;
}

/* One function for each width of the output. `shape` promises that all is valid and fits. */
#define DEFINE_STRING_WRITE(suffix, type)                                                                              \
    void string_write_##suffix(const unsigned char *at, const struct string_shape *shape, type *out)                   \
    {                                                                                                                  \
        const unsigned char *end = shape->end;                                                                         \
        while (at < end) {                                                                                             \
            if (*at == '\\') {                                                                                         \
                *out++ = (type)take_escape(&at, end);                                                                  \
            } else if (*at < 0x80) {                                                                                   \
                while (end - at >= BLOCK_SIZE && block_plain(at) == BLOCK_SIZE) {                                      \
                    for (unsigned i = 0; i < BLOCK_SIZE; i++) {                                                        \
                        out[i] = at[i];                                                                                \
                    }                                                                                                  \
                    at += BLOCK_SIZE;                                                                                  \
                    out += BLOCK_SIZE;                                                                                 \
                }                                                                                                      \
                while (at < end && *at < 0x80 && *at != '\\') {                                                        \
                    *out++ = *at++;                                                                                    \
                }                                                                                                      \
            } else {                                                                                                   \
                *out++ = (type)utf8_take(&at);                                                                         \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_STRING_WRITE(1, uint8_t)
DEFINE_STRING_WRITE(2, uint16_t)
DEFINE_STRING_WRITE(4, uint32_t)
