/*
 * States, and what leaves each:
 *
 *            white space
 *              +----+
 *              v    |
 *    START ----+----+--[ {-----> NESTED --depth 0--> DONE
 *              |--- " ---------> STRING --quote----> DONE
 *              |--- - 0..9 ----> NUMBER --white space--> DONE, another--> BAD
 *              |--- t f n -----> LITERAL + progress --complete--> DONE, another--> BAD
 *              `--- other -----> BAD
 *
 * NESTED goes through 64 bytes at a time as masks. One rule keeps blocks and chunks of every size in agreement: a quote
 * behind an odd run of backslashes is none, inside of strings and out.
 */
#include "json/scan.h"

#include "json/block.h"

enum { START, NESTED, NESTED_STRING, STRING, NUMBER, LITERAL };

/* The literals' letters after the first; state LITERAL + i expects literal_rest[i]. */
static const char literal_rest[] = "rue\0alse\0ull";
enum { REST_TRUE = 0, REST_FALSE = 4, REST_NULL = 9 };

bool scan_is_blank(const struct scan *scan) { return scan->state == START; }

static bool is_space(unsigned char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

static bool is_number_byte(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.' || byte == 'e' || byte == 'E';
}

/* The state after the first byte of a value; START if it begins none. */
static uint8_t state_after(unsigned char byte)
{
    switch (byte) {
    case '[':
    case '{':
        return NESTED;
    case '"':
        return STRING;
    case 't':
        return LITERAL + REST_TRUE;
    case 'f':
        return LITERAL + REST_FALSE;
    case 'n':
        return LITERAL + REST_NULL;
    default:
        return byte == '-' || (byte >= '0' && byte <= '9') ? NUMBER : START;
    }
}

/* Which bytes follow an odd run of backslashes, and so are escaped (the way of simdjson). `escaped` says it of the
 * first byte, and on return of the byte behind the 64. */
static uint64_t find_escaped(uint64_t backslashes, bool *escaped)
{
    uint64_t first = *escaped;
    if (backslashes == 0) {
        *escaped = false;
        return first;
    }
    const uint64_t even = 0x5555555555555555;
    backslashes &= ~first;
    uint64_t follows = backslashes << 1 | first;
    uint64_t odd_starts = backslashes & ~even & ~follows;
    uint64_t even_ends;
    *escaped = __builtin_add_overflow(odd_starts, backslashes, &even_ends);
    return (even ^ (even_ends << 1)) & follows;
}

/* Each bit: are there an odd number of bits set at or below it? */
static uint64_t prefix_xor(uint64_t bits)
{
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    return bits ^ bits << 32;
}

static unsigned count_bits(uint64_t bits)
{
    unsigned count = 0;
    for (; bits; bits &= bits - 1) {
        count++;
    }
    return count;
}

/* Brackets of one block in their order. The index behind the one that closes the value, or 0. */
static size_t walk_brackets(uint64_t *depth, uint64_t opens, uint64_t closes)
{
    for (uint64_t rest = opens | closes; rest; rest &= rest - 1) {
        uint64_t lowest = rest & -rest;
        *depth += opens & lowest ? 1 : 0;
        *depth -= closes & lowest ? 1 : 0;
        if (*depth == 0) {
            return (size_t)__builtin_ctzll(lowest) + 1;
        }
    }
    return 0;
}

/* `used` (1 to 64) bytes of a block inside a nested value; the rest of it are spaces. The end within it, or 0. */
static size_t feed_block(struct scan *scan, const unsigned char *block, unsigned used)
{
    struct marks marks = block_marks(block);
    if ((marks.quotes | marks.backslashes | marks.opens | marks.closes) == 0) {
        scan->escaped = false;
        return 0;
    }
    uint64_t escaped = find_escaped(marks.backslashes, &scan->escaped);
    if (used < MARKS_SIZE) {
        scan->escaped = escaped >> used & 1;
    }
    uint64_t inside = prefix_xor(marks.quotes & ~escaped);
    if (scan->state == NESTED_STRING) {
        inside = ~inside;
    }
    scan->state = inside >> 63 ? NESTED_STRING : NESTED; /* spaces at the end change nothing */
    marks.opens &= ~inside;
    marks.closes &= ~inside;
    unsigned closes = count_bits(marks.closes);
    if (closes >= scan->depth) {
        return walk_brackets(&scan->depth, marks.opens, marks.closes);
    }
    scan->depth += count_bits(marks.opens);
    scan->depth -= closes;
    return 0;
}

/* The last bytes of a chunk as a block, so that nothing behind them is read. */
static size_t feed_partial(struct scan *scan, const unsigned char *bytes, unsigned size)
{
    unsigned char block[MARKS_SIZE];
    memset(block, ' ', sizeof block);
    memcpy(block, bytes, size);
    return feed_block(scan, block, size);
}

/* The next two: the number of bytes up to the end of the value, which is at least 1, or 0 for more. */
static size_t feed_nested(struct scan *scan, const unsigned char *bytes, size_t size)
{
    size_t at = 0, end;
    for (; size - at >= MARKS_SIZE; at += MARKS_SIZE) {
        end = feed_block(scan, bytes + at, MARKS_SIZE);
        if (end > 0) {
            return at + end;
        }
    }
    end = at < size ? feed_partial(scan, bytes + at, (unsigned)(size - at)) : 0;
    return end > 0 ? at + end : 0;
}

static size_t feed_string(struct scan *scan, const unsigned char *bytes, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        while (!scan->escaped && size - at >= MARKS_SIZE && block_all_plain(bytes + at)) {
            at += MARKS_SIZE;
        }
        while (!scan->escaped && size - at >= BLOCK_SIZE) {
            unsigned plain = block_plain(bytes + at);
            at += plain;
            if (plain < BLOCK_SIZE) {
                break;
            }
        }
        if (at == size) {
            return 0;
        }
        if (scan->escaped) {
            scan->escaped = false;
        } else if (bytes[at] == '"') {
            return at + 1;
        } else {
            scan->escaped = bytes[at] == '\\';
        }
    }
    return 0;
}

/* Unlike the values above, these two end before a byte. */
static enum scan_step feed_number(const unsigned char *bytes, size_t size, size_t at, size_t *ret_end)
{
    while (at < size && is_number_byte(bytes[at])) {
        at++;
    }
    if (at == size) {
        return SCAN_MORE;
    }
    *ret_end = at;
    return is_space(bytes[at]) ? SCAN_DONE : SCAN_BAD;
}

static enum scan_step feed_literal(struct scan *scan, const unsigned char *bytes, size_t size, size_t at,
                                   size_t *ret_end)
{
    for (; at < size; at++, scan->state++) {
        const char *expected = &literal_rest[scan->state - LITERAL];
        bool fits = bytes[at] == (unsigned char)*expected;
        if (!fits || expected[1] == '\0') {
            *ret_end = at + fits;
            return fits ? SCAN_DONE : SCAN_BAD;
        }
    }
    return SCAN_MORE;
}

/* Skips white space and takes the first byte of the value. DONE means: go on at `*ret_at`. */
static enum scan_step feed_start(struct scan *scan, const unsigned char *bytes, size_t size, size_t *ret_at)
{
    size_t at = 0;
    while (at < size && is_space(bytes[at])) {
        at++;
    }
    if (at == size) {
        return SCAN_MORE;
    }
    scan->state = state_after(bytes[at]);
    scan->depth = scan->state == NESTED;
    *ret_at = scan->state == START ? at : at + 1;
    return scan->state == START ? SCAN_BAD : SCAN_DONE;
}

enum scan_step scan_feed(struct scan *scan, const unsigned char *bytes, size_t size, size_t *ret_end)
{
    size_t at = 0;
    if (scan->state == START) {
        enum scan_step step = feed_start(scan, bytes, size, &at);
        if (step != SCAN_DONE) {
            if (step == SCAN_BAD) {
                *ret_end = at;
            }
            return step;
        }
    }
    if (scan->state == NUMBER) {
        return feed_number(bytes, size, at, ret_end);
    }
    if (scan->state >= LITERAL) {
        return feed_literal(scan, bytes, size, at, ret_end);
    }
    size_t used =
        scan->state == STRING ? feed_string(scan, bytes + at, size - at) : feed_nested(scan, bytes + at, size - at);
    if (used == 0) {
        return SCAN_MORE;
    }
    *ret_end = at + used;
    return SCAN_DONE;
}

bool scan_is_number(const struct scan *scan) { return scan->state == NUMBER; }
