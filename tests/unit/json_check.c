#include "json_check.h"

#include <stdint.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

struct reader {
    const unsigned char *at;
    const unsigned char *end;
    int depth;
};

/* Where a decoded string goes; what does not fit is counted but not written. */
struct text {
    char *bytes;
    size_t room;
    size_t size;
    bool lone; /* it holds half a surrogate pair */
};

bool utf8_check(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    const unsigned char *end = at + size;
    while (at < end) {
        unsigned length = *at < 0x80 ? 1 : *at < 0xC0 ? 0 : *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : *at < 0xF8 ? 4 : 0;
        if (length == 0 || length > (size_t)(end - at)) {
            return false;
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        uint32_t code = length == 1 ? *at : *at & (0x7Fu >> length);
        for (unsigned i = 1; i < length; i++) {
            if ((at[i] & 0xC0) != 0x80) {
                return false;
            }
            code = code << 6 | (at[i] & 0x3Fu);
        }
        if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
            return false;
        }
        at += length;
    }
    return true;
}

static void put(struct text *text, unsigned char byte)
{
    if (text != NULL) {
        if (text->size + 1 < text->room) {
            text->bytes[text->size] = (char)byte;
        }
        text->size++;
    }
}

static void put_code(struct text *text, uint32_t code)
{
    if (code < 0x80) {
        put(text, (unsigned char)code);
    } else if (code < 0x800) {
        put(text, (unsigned char)(0xC0 | code >> 6));
        put(text, (unsigned char)(0x80 | (code & 0x3F)));
    } else if (code < 0x10000) {
        put(text, (unsigned char)(0xE0 | code >> 12));
        put(text, (unsigned char)(0x80 | (code >> 6 & 0x3F)));
        put(text, (unsigned char)(0x80 | (code & 0x3F)));
    } else {
        put(text, (unsigned char)(0xF0 | code >> 18));
        put(text, (unsigned char)(0x80 | (code >> 12 & 0x3F)));
        put(text, (unsigned char)(0x80 | (code >> 6 & 0x3F)));
        put(text, (unsigned char)(0x80 | (code & 0x3F)));
    }
}

static bool take(struct reader *reader, unsigned char byte)
{
    bool found = reader->at < reader->end && *reader->at == byte;
    reader->at += found;
    return found;
}

static void skip_space(struct reader *reader)
{
    while (take(reader, ' ') || take(reader, '\n') || take(reader, '\r') || take(reader, '\t')) {
    }
}

static bool take_hex(struct reader *reader, uint32_t *ret_code)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        static const char digits[] = "0123456789abcdef";
        if (reader->at == reader->end || *reader->at == '\0') {
            return false;
        }
        const char *digit = strchr(digits, *reader->at >= 'A' && *reader->at <= 'F' ? *reader->at + 32 : *reader->at);
        if (digit == NULL) {
            return false;
        }
        code = code << 4 | (uint32_t)(digit - digits);
    }
    *ret_code = code;
    return true;
}

static bool take_escape(struct reader *reader, struct text *text)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end) {
        return false;
    }
    unsigned char letter = *reader->at++;
    const char *found = letter != '\0' ? strchr(letters, letter) : NULL;
    if (found != NULL) {
        put(text, (unsigned char)meanings[found - letters]);
        return true;
    }
    uint32_t code = 0;
    if (letter != 'u' || !take_hex(reader, &code)) {
        return false;
    }
    if (code >= 0xD800 && code <= 0xDFFF) {
        uint32_t low = 0;
        struct reader ahead = *reader;
        if (code <= 0xDBFF && take(&ahead, '\\') && take(&ahead, 'u') && take_hex(&ahead, &low) && low >= 0xDC00 &&
            low <= 0xDFFF) {
            *reader = ahead;
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (text != NULL) {
            text->lone = true;
        }
    }
    put_code(text, code);
    return true;
}

static bool take_string(struct reader *reader, struct text *text)
{
    if (!take(reader, '"')) {
        return false;
    }
    while (reader->at < reader->end && *reader->at != '"') {
        if (*reader->at < 0x20) {
            return false;
        }
        if (take(reader, '\\')) {
            if (!take_escape(reader, text)) {
                return false;
            }
        } else {
            put(text, *reader->at++);
        }
    }
    return take(reader, '"');
}

static bool take_digits(struct reader *reader)
{
    const unsigned char *start = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        reader->at++;
    }
    return reader->at > start;
}

static bool take_number(struct reader *reader)
{
    take(reader, '-');
    if (!take(reader, '0') && !take_digits(reader)) {
        return false;
    }
    if (take(reader, '.') && !take_digits(reader)) {
        return false;
    }
    if (take(reader, 'e') || take(reader, 'E')) {
        if (!take(reader, '-')) {
            take(reader, '+');
        }
        return take_digits(reader);
    }
    return true;
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0) {
        return false;
    }
    reader->at += size;
    return true;
}

static bool take_value(struct reader *reader);

/* The members of an object or array behind its opening bracket. */
static bool take_members(struct reader *reader, bool named, unsigned char close)
{
    skip_space(reader);
    if (take(reader, close)) {
        return true;
    }
    do {
        skip_space(reader);
        if (named) {
            if (!take_string(reader, NULL)) {
                return false;
            }
            skip_space(reader);
            if (!take(reader, ':')) {
                return false;
            }
        }
        if (!take_value(reader)) {
            return false;
        }
        skip_space(reader);
    } while (take(reader, ','));
    return take(reader, close);
}

static bool take_value(struct reader *reader)
{
    skip_space(reader);
    if (reader->at == reader->end || reader->depth >= DEPTH_MAX) {
        return false;
    }
    bool valid;
    reader->depth++;
    switch (*reader->at) {
    case '{':
        reader->at++;
        valid = take_members(reader, true, '}');
        break;
    case '[':
        reader->at++;
        valid = take_members(reader, false, ']');
        break;
    case '"':
        valid = take_string(reader, NULL);
        break;
    case 't':
        valid = take_word(reader, "true");
        break;
    case 'f':
        valid = take_word(reader, "false");
        break;
    case 'n':
        valid = take_word(reader, "null");
        break;
    default:
        valid = take_number(reader);
        break;
    }
    reader->depth--;
    return valid;
}

bool json_check(const void *bytes, size_t size)
{
    const unsigned char *start = bytes;
    struct reader reader = {start, start + size, 0};
    if (!utf8_check(bytes, size) || !take_value(&reader)) {
        return false;
    }
    skip_space(&reader);
    return reader.at == reader.end;
}

bool json_check_member(const void *bytes, size_t size, const char *key, char *value, size_t value_size,
                       size_t *ret_size)
{
    const unsigned char *start = bytes;
    struct reader reader = {start, start + size, 0};
    if (!json_check(bytes, size)) {
        return false;
    }
    skip_space(&reader);
    if (!take(&reader, '{')) {
        return false;
    }
    do {
        char name[64] = "";
        struct text found = {name, sizeof name, 0, false};
        skip_space(&reader);
        if (!take_string(&reader, &found)) {
            return false;
        }
        name[found.size < sizeof name ? found.size : sizeof name - 1] = '\0';
        skip_space(&reader);
        take(&reader, ':');
        skip_space(&reader);
        if (strcmp(name, key) == 0) {
            struct text text = {value, value_size, 0, false};
            if (!take_string(&reader, &text) || text.size >= value_size) {
                return false;
            }
            value[text.size] = '\0';
            *ret_size = text.size;
            return !text.lone;
        }
        take_value(&reader);
        skip_space(&reader);
    } while (take(&reader, ','));
    return false;
}
