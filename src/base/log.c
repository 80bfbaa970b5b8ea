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

/* Length of the well-formed printable UTF-8 sequence at `text` (1 to 4), or 0 where the byte must be escaped. */
static size_t printable(const unsigned char *text)
{
    unsigned c = text[0];
    if (c < 0x80) {
        return c >= 0x20 && c != 0x7F;
    }
    if (c < 0xC2 || c > 0xF4 || (text[1] & 0xC0) != 0x80) {
        return 0;
    }
    if (c < 0xE0) {
        return c == 0xC2 && text[1] < 0xA0 ? 0 : 2; /* U+0080 to U+009F are controls too */
    }
    if ((text[2] & 0xC0) != 0x80) {
        return 0;
    }
    if (c < 0xF0) {
        bool overlong = c == 0xE0 && text[1] < 0xA0;
        bool surrogate = c == 0xED && text[1] >= 0xA0;
        bool separator = c == 0xE2 && text[1] == 0x80 && (text[2] == 0xA8 || text[2] == 0xA9);
        return overlong || surrogate || separator ? 0 : 3;
    }
    bool outside = (c == 0xF0 && text[1] < 0x90) || (c == 0xF4 && text[1] >= 0x90);
    return outside || (text[3] & 0xC0) != 0x80 ? 0 : 4;
}

/* The escape for a byte that may not stand raw. Text lines use \n and \xNN; JSON lines their own \u00NN. */
static size_t escape(char *target, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    char high = hex[byte >> 4];
    char low = hex[byte & 15];
    if (byte == '\n' || byte == '\t' || byte == '\r') {
        target[0] = '\\';
        target[1] = byte == '\n' ? 'n' : byte == '\t' ? 't' : 'r';
        return 2;
    }
    if (style == LOG_JSON) {
        memcpy(target, "\\u00", 4);
        target[4] = high;
        target[5] = low;
        return 6;
    }
    memcpy(target, "\\x", 2);
    target[2] = high;
    target[3] = low;
    return 4;
}

/* What stands in a line for the next character, or byte that is none, of non-empty text: `*ret_size` bytes in `target`.
 * Returns how many bytes of the text that takes. */
static size_t encode(const unsigned char *text, char target[8], size_t *ret_size)
{
    size_t size = printable(text);
    if (size == 0) {
        *ret_size = escape(target, *text);
        return 1;
    }
    *ret_size = 0;
    if (style == LOG_JSON && (*text == '"' || *text == '\\')) {
        target[(*ret_size)++] = '\\';
    }
    memcpy(target + *ret_size, text, size);
    *ret_size += size;
    return size;
}

/* Appends NUL-terminated text with whatever may not stand in a line escaped, as far as there is room. */
static void line_add_text(struct line *line, const char *text)
{
    const unsigned char *next = (const unsigned char *)text;
    while (*next != '\0') {
        char encoded[8];
        size_t size;
        next += encode(next, encoded, &size);
        if (size > line_room(line)) {
            return;
        }
        memcpy(line->bytes + line->size, encoded, size);
        line->size += size;
    }
}

/* As line_add_text, but what there is no room for is left out at the beginning. */
static void line_add_end(struct line *line, const char *text)
{
    static const char omission[] = "... ";
    const unsigned char *next = (const unsigned char *)text;
    char encoded[8];
    size_t size;
    size_t total = 0;
    for (const unsigned char *at = next; *at != '\0'; total += size) {
        at += encode(at, encoded, &size);
    }
    if (total > line_room(line)) {
        for (total += sizeof omission - 1; *next != '\0' && total > line_room(line); total -= size) {
            next += encode(next, encoded, &size);
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
