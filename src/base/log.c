#include "base/log.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level lowest = LOG_LEVEL_INFO;
static enum log_format style = LOG_TEXT;

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

/* A line being built: always room for `reserve` bytes at the end (closing quote, brace, newline). */
struct line {
    char bytes[LOG_LINE_SIZE];
    size_t size;
};

enum { LINE_RESERVE = 8 };

void log_configure(enum log_level level, enum log_format format)
{
    lowest = level;
    style = format;
}

int log_enabled(enum log_level level) { return level >= lowest; }

static size_t line_room(const struct line *line) { return sizeof line->bytes - LINE_RESERVE - line->size; }

static bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/* Length of the well-formed UTF-8 sequence at `text` (1 to 4) and its code point, or 0 and nothing. */
static size_t decode(const unsigned char *text, uint32_t *ret_point)
{
    uint32_t point = *text;
    size_t size = 1;
    if (point >= 0x80) {
        if (point < 0xC2 || point > 0xF4) {
            return 0;
        }
        size = point < 0xE0 ? 2 : point < 0xF0 ? 3 : 4;
        point &= 0x7FU >> size;
        for (size_t i = 1; i < size; i++) {
            if (!is_continuation(text[i])) {
                return 0;
            }
            point = point << 6 | (text[i] & 0x3F);
        }
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < least[size] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) {
        return 0;
    }
    *ret_point = point;
    return size;
}

/* May a character stand in a line as it is? */
static bool is_plain(uint32_t point)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } unfit[] = {
        {0, 0x1F},          {0x7F, 0x9F},     /* controls */
        {0x61C, 0x61C},                       /* Arabic letter mark */
        {0x200E, 0x200F},   {0x2028, 0x202E}, /* direction marks; separators, embeddings and overrides of direction */
        {0x2060, 0x206F},                     /* isolates of direction, and others that cannot be seen */
        {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB}, /* byte order mark; annotations */
        {0xE0000, 0xE007F},                   /* tags */
    };
    for (size_t i = 0; i < sizeof unfit / sizeof unfit[0]; i++) {
        if (point <= unfit[i].last) {
            return point < unfit[i].first;
        }
    }
    return true;
}

static size_t add_hex(char *target, const char *prefix, unsigned digits, uint32_t value)
{
    memcpy(target, prefix, 2);
    for (unsigned i = 0; i < digits; i++) {
        target[2 + i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 15];
    }
    return 2 + digits;
}

/* What a character, or a byte that is none, becomes: at most two \\uXXXX. */
struct encoded {
    char bytes[12];
    size_t size;
};

/* Text lines use \\n and \\xNN, JSON lines \\n and \\uXXXX, for a byte that is no character \\u00NN. Returns how much
 * of the text that is for. */
static size_t escape(const unsigned char *text, size_t size, uint32_t point, struct encoded *ret_encoded)
{
    char *target = ret_encoded->bytes;
    if (*text == '\n' || *text == '\t' || *text == '\r') {
        target[0] = '\\';
        target[1] = *text == '\n' ? 'n' : *text == '\t' ? 't' : 'r';
        ret_encoded->size = 2;
        return 1;
    }
    if (style == LOG_TEXT) {
        ret_encoded->size = add_hex(target, "\\x", 2, *text);
        return 1; /* the bytes that follow start no character: each is escaped in its turn */
    }
    if (size < 4) {
        ret_encoded->size = add_hex(target, "\\u", 4, point);
        return size > 0 ? size : 1;
    }
    ret_encoded->size = add_hex(target, "\\u", 4, 0xD800 + ((point - 0x10000) >> 10));
    ret_encoded->size += add_hex(target + ret_encoded->size, "\\u", 4, 0xDC00 + (point & 0x3FF));
    return size;
}

/* What stands in a line for the next character, or byte that is none, of non-empty text. Returns how many bytes of the
 * text that takes. */
static size_t encode(const unsigned char *text, struct encoded *ret_encoded)
{
    uint32_t point = *text; /* of a byte that is no character */
    size_t size = decode(text, &point);
    if (size == 0 || !is_plain(point)) {
        return escape(text, size, point, ret_encoded);
    }
    ret_encoded->size = 0;
    if (style == LOG_JSON && (*text == '"' || *text == '\\')) {
        ret_encoded->bytes[ret_encoded->size++] = '\\';
    }
    memcpy(ret_encoded->bytes + ret_encoded->size, text, size);
    ret_encoded->size += size;
    return size;
}

/* Appends NUL-terminated text with whatever may not stand in a line escaped, as far as there is room. */
static void line_add_text(struct line *line, const char *text)
{
    const unsigned char *next = (const unsigned char *)text;
    while (*next != '\0') {
        struct encoded encoded = {.size = 0};
        next += encode(next, &encoded);
        if (encoded.size > line_room(line)) {
            return;
        }
        memcpy(line->bytes + line->size, encoded.bytes, encoded.size);
        line->size += encoded.size;
    }
}

/* As line_add_text, but what there is no room for is left out at the beginning. */
static void line_add_end(struct line *line, const char *text)
{
    static const char omission[] = "... ";
    const unsigned char *next = (const unsigned char *)text;
    struct encoded encoded = {.size = 0};
    size_t total = 0;
    for (const unsigned char *at = next; *at != '\0'; total += encoded.size) {
        at += encode(at, &encoded);
    }
    if (total > line_room(line)) {
        for (total += sizeof omission - 1; *next != '\0' && total > line_room(line); total -= encoded.size) {
            next += encode(next, &encoded);
        }
        line_add_text(line, omission);
    }
    line_add_text(line, (const char *)next);
}

/* Civil date of a day number since 1970-01-01 (proleptic Gregorian, from the era arithmetic with a year that starts in
 * March). Own code since gmtime would read time-zone files. */
static void civil_date(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    *ret_day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year_of_era + era * 400 + (*ret_month <= 2));
}

static void line_begin_level(struct line *line, enum log_level level)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int year;
    int month;
    int day;
    civil_date(now.tv_sec / 86400, &year, &month, &day);
    int second = (int)(now.tv_sec % 86400);
    const char *format = style == LOG_JSON ? "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"level\":\"%s\""
                                           : "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s ";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int size = snprintf(line->bytes, sizeof line->bytes, format, year, month, day, second / 3600, second / 60 % 60,
                        second % 60, (int)(now.tv_nsec / 1000000), level_names[level]);
#pragma GCC diagnostic pop
    line->size = size > 0 ? (size_t)size : 0;
}

/* Text of our own. Only for what is known to fit. */
static void line_add_own(struct line *line, const char *text)
{
    size_t size = strlen(text);
    memcpy(line->bytes + line->size, text, size);
    line->size += size;
}

static void line_add_name(struct line *line, const char *before, struct view name, const char *after)
{
    char text[LOG_NAME_MAX + 1];
    size_t size = text_cut(name.data, name.size, LOG_NAME_MAX);
    memcpy(text, name.data, size);
    text[size] = '\0';
    line_add_own(line, before);
    line_add_text(line, text);
    line_add_own(line, after);
}

static void line_add_request(struct line *line, const struct log_request *request)
{
    bool both = request->id.size > 0 && request->traceparent.size > 0;
    if (request->id.size > 0) {
        line_add_name(line, style == LOG_JSON ? ",\"request_id\":\"" : "[", request->id,
                      style == LOG_JSON ? "\""
                      : both            ? " "
                                        : "] ");
    }
    if (request->traceparent.size > 0) {
        line_add_name(line,
                      style == LOG_JSON ? ",\"traceparent\":\""
                      : both            ? ""
                                        : "[",
                      request->traceparent, style == LOG_JSON ? "\"" : "] ");
    }
}

static void line_begin(struct line *line, enum log_level level, const struct log_request *request)
{
    line_begin_level(line, level);
    if (request != NULL) {
        line_add_request(line, request);
    }
    if (style == LOG_JSON) {
        line_add_own(line, ",\"message\":\"");
    }
}

static void line_write(struct line *line)
{
    static const char json_end[] = "\"}\n";
    const char *end = style == LOG_JSON ? json_end : "\n";
    size_t end_size = strlen(end);
    memcpy(line->bytes + line->size, end, end_size);
    line->size += end_size;
    for (size_t written = 0; written < line->size;) {
        ssize_t count = write(STDERR_FILENO, line->bytes + written, line->size - written);
        if (count < 0 && errno != EINTR) {
            return; /* nowhere to say so */
        }
        written += count > 0 ? (size_t)count : 0;
    }
}

__attribute__((format(printf, 2, 0))) static void write_formatted(enum log_level level, const char *format,
                                                                  va_list arguments)
{
    if (!log_enabled(level)) {
        return;
    }
    char text[LOG_LINE_SIZE];
    int size = vsnprintf(text, sizeof text, format, arguments);
    if (size < 0) {
        return;
    }
    if ((size_t)size >= sizeof text) {
        text_trim_partial(text);
    }
    struct line line;
    line_begin(&line, level, NULL);
    line_add_text(&line, text);
    line_write(&line);
}

#define LOG_FUNCTION(name, level)                                                                                      \
    void name(const char *format, ...)                                                                                 \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, format);                                                                                   \
        write_formatted(level, format, arguments);                                                                     \
        va_end(arguments);                                                                                             \
    }

LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)

void log_about(enum log_level level, const struct log_request *request, const char *message, const char *detail)
{
    if (!log_enabled(level)) {
        return;
    }
    struct line line;
    line_begin(&line, level, request);
    char head[LOG_LINE_SIZE / 2];
    text_copy(head, sizeof head, message);
    line_add_text(&line, head);
    if (detail != NULL) {
        line_add_text(&line, "; ");
        line_add_end(&line, detail);
    }
    line_write(&line);
}

void log_with_detail(enum log_level level, const char *message, const char *detail)
{
    log_about(level, NULL, message, detail);
}
