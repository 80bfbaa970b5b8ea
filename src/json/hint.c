#include "json/hint.h"

#include <stdbool.h>
#include <string.h>

enum { WORD_MAX = 64 }; /* bytes looked at on either side */

static bool hint_is_letter(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool hint_is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

static bool hint_is_space(unsigned char byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }

/* The word in which `at` lies: the reader may have stopped in the middle of it. */
static const char *hint_for_word(const unsigned char *text, size_t size, size_t at)
{
    static const struct {
        const char *word;
        const char *hint;
    } words[] = {
        {"None", "JSON writes null for None"},       {"True", "JSON writes true for True"},
        {"False", "JSON writes false for False"},    {"NaN", "JSON has no NaN: write null"},
        {"nan", "JSON has no NaN: write null"},      {"Infinity", "JSON has no Infinity: write null"},
        {"inf", "JSON has no Infinity: write null"}, {"undefined", "JSON has no undefined: write null"},
    };
    size_t first = at;
    size_t end = at;
    while (first > 0 && at - first < WORD_MAX && hint_is_letter(text[first - 1])) {
        first--;
    }
    while (end < size && end - at < WORD_MAX && hint_is_letter(text[end])) {
        end++;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (end - first == strlen(words[i].word) && memcmp(text + first, words[i].word, end - first) == 0) {
            return words[i].hint;
        }
    }
    if (first > 0 && hint_is_digit(text[first - 1])) { /* 0x10, 1_000, 5px */
        return "a number in JSON is decimal, and has no letters but that of an exponent";
    }
    return end > first ? "strings stand in double quotes in JSON, whose only words are null, true and false" : NULL;
}

/* The last byte before `at` that is not white space; 0: there is none. */
static unsigned char hint_before(const unsigned char *text, size_t at)
{
    while (at > 0 && hint_is_space(text[at - 1])) {
        at--;
    }
    return at > 0 ? text[at - 1] : 0;
}

/* A value that stands where none is expected. */
static const char *hint_for_value(const unsigned char *text, size_t at)
{
    if (at > 0 && text[at - 1] == '0' && hint_is_digit(text[at])) {
        return "a number in JSON has no leading zero";
    }
    unsigned char before = hint_before(text, at);
    if (before == '{' || before == ',') { /* what may not begin with this there is a key */
        return "a key stands in double quotes in JSON";
    }
    bool is_behind_value =
        hint_is_digit(before) || hint_is_letter(before) || before == '"' || before == ']' || before == '}';
    return is_behind_value ? "a comma or a colon is missing before it" : NULL;
}

const char *hint_for(const unsigned char *text, size_t size, size_t at)
{
    if (at >= size) {
        return NULL;
    }
    switch (text[at]) {
    case ']':
    case '}':
        return hint_before(text, at) == ',' ? "JSON allows no comma before a closing bracket" : NULL;
    case '\'':
        return "strings stand in double quotes in JSON";
    case '/':
    case '#':
        return "JSON has no comments";
    case '+':
        return "a number in JSON does not begin with a plus sign";
    case '.':
        return "a number in JSON has a digit before its point";
    case '=':
        return "JSON has a colon between a key and its value";
    case '(':
        return "JSON has no tuples: lists stand in square brackets";
    default:
        return hint_is_digit(text[at]) || text[at] == '"' || text[at] == '[' || text[at] == '{'
                   ? hint_for_value(text, at)
                   : hint_for_word(text, size, at);
    }
}

void hint_unexpected(struct error *err, const unsigned char *text, size_t size, size_t at)
{
    if (at == 0 && size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        error_set(err, ERR_JSON, at, "unexpected byte order mark at byte %zu", at);
        return;
    }
    if (text[at] < 0x20 || text[at] >= 0x7F) {
        error_set(err, ERR_JSON, at, "unexpected byte 0x%02x at byte %zu", text[at], at);
        return;
    }
    const char *hint = hint_for(text, size, at);
    error_set(err, ERR_JSON, at, "unexpected '%c' at byte %zu%s%s", text[at], at, hint != NULL ? ": " : "",
              hint != NULL ? hint : "");
}
