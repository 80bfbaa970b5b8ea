#include "base/log.h"

#include "base/backlog.h"
#include "base/clock.h"
#include "base/text.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level lowest = LOG_LEVEL_INFO;
static enum log_format style = LOG_TEXT;

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

/* A line being built. LINE_RESERVE bytes at its end are kept for the closing quote, brace and newline. */
struct line {
    char bytes[LOG_LINE_SIZE];
    size_t size;
};

enum { LINE_RESERVE = 8 };

int log_enabled(enum log_level level) { return level >= lowest; }

static size_t line_room(const struct line *line) { return sizeof line->bytes - LINE_RESERVE - line->size; }

static bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/* The length (1 to 4) of the well-formed UTF-8 sequence at `text`, and its code point; 0 if it is not well-formed. */
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

/* May a character be written as it is? */
static bool log_is_plain(uint32_t point)
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

/* How a character, or a byte that is not UTF-8, is written: two \\uXXXX at most. */
struct encoded {
    char bytes[12];
    size_t size;
};

/* Text lines use \\n and \\xNN; JSON lines \\n and \\uXXXX, and \\u00NN for a byte that is not UTF-8. Returns how many
 * bytes of the text were escaped. */
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
        return 1; /* one byte; the next calls escape the others of the character */
    }
    if (size < 4) {
        ret_encoded->size = add_hex(target, "\\u", 4, point);
        return size > 0 ? size : 1;
    }
    ret_encoded->size = add_hex(target, "\\u", 4, 0xD800 + ((point - 0x10000) >> 10));
    ret_encoded->size += add_hex(target + ret_encoded->size, "\\u", 4, 0xDC00 + (point & 0x3FF));
    return size;
}

/* Encodes the next character of non-empty text, or the next byte if it is not UTF-8. Returns how many bytes of the text
 * that were. */
static size_t encode(const unsigned char *text, struct encoded *ret_encoded)
{
    uint32_t point = *text; /* for a byte that is not UTF-8 */
    size_t size = decode(text, &point);
    if (size == 0 || !log_is_plain(point)) {
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

/* Appends NUL-terminated text, escaped, as far as there is room. */
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

/* As line_add_text, but if there is no room for all, the beginning is left out. */
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

/* The date of a day counted from 1970-01-01, by arithmetic with years that start in March (proleptic Gregorian). Not
 * gmtime, which would read time-zone files. */
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

/* Text of our own, not escaped. Only for what is known to fit. */
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

static void line_start(struct line *line, enum log_level level, const struct log_request *request, const char *text)
{
    line_begin(line, level, request);
    line_add_text(line, text);
}

static void line_finish(struct line *line) { line_add_own(line, style == LOG_JSON ? "\"}\n" : "\n"); }

/* ---- the way out ------------------------------------------------------------------------------------------------ */

enum { KINDS_MAX = 16, BURST = 20 };

#define REFILL      (1 * CLOCK_SECOND) /* until one more line of a kind may be written */
#define RETRY_FIRST (10 * CLOCK_MS)    /* between attempts to write, doubled up to RETRY_LONG */
#define RETRY_LONG  (250 * CLOCK_MS)
#define FINISH_IDLE (100 * CLOCK_MS) /* at the end: give up after so long without a byte written, and in all */
#define FINISH_LONG (1 * CLOCK_SECOND)

/* A token bucket: full when `spent_until` has passed, empty when that is BURST times REFILL from now. */
struct kind {
    const char *name;
    uint64_t spent_until;
    unsigned left_out; /* lines left out since it was empty */
    enum log_level level;
};

static struct kind kinds[KINDS_MAX];
static unsigned lost; /* lines for which there was no room, and the highest of their levels */
static enum log_level lost_level;
static uint64_t retry_span;
static uint64_t retry_at = CLOCK_NEVER;
static _Atomic uint64_t due = CLOCK_NEVER;
static _Atomic int holder; /* the lock: the pid of the process one of whose threads holds it; 0: free */
static int owner;          /* the pid of the process that the state belongs to */

/* After a fork: what the parent has kept is written by the parent. */
static void forget_parent(int self)
{
    owner = self;
    backlog_clear();
    memset(kinds, 0, sizeof kinds);
    lost = 0;
    retry_at = CLOCK_NEVER;
}

/* Other threads hold the lock for a system call or two. A child that was forked meanwhile finds it held by its parent's
 * pid, by a thread that does not exist here, so it takes the lock. */
static void lock(void)
{
    int self = (int)getpid();
    int found = 0;
    while (
        !atomic_compare_exchange_strong_explicit(&holder, &found, self, memory_order_acquire, memory_order_relaxed)) {
        if (found == self) {
            (void)poll(NULL, 0, 1);
            found = 0;
        }
    }
    if (owner != self) {
        forget_parent(self);
    }
}

static uint64_t kind_free_at(const struct kind *kind)
{
    return kind->spent_until > (BURST - 1) * REFILL ? kind->spent_until - (BURST - 1) * REFILL : 0;
}

static void unlock(void)
{
    uint64_t next = retry_at;
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (kinds[i].left_out > 0) {
            next = clock_earlier(next, kind_free_at(&kinds[i]));
        }
    }
    atomic_store_explicit(&due, next, memory_order_relaxed);
    atomic_store_explicit(&holder, 0, memory_order_release);
}

void log_configure(enum log_level level, enum log_format format)
{
    lock();
    lowest = level;
    style = format;
    memset(kinds, 0, sizeof kinds);
    unlock();
}

/* Logs how many lines were lost, in their place, once there is room for that line and the longest other one. */
static void say_lost(void)
{
    if (lost == 0 || !backlog_has_room((size_t)2 * LOG_LINE_SIZE)) {
        return;
    }
    struct line line;
    char text[96];
    (void)snprintf(text, sizeof text, "%u line%s of this log %s lost here: nobody read it in time", lost,
                   lost == 1 ? "" : "s", lost == 1 ? "was" : "were");
    line_start(&line, lost_level, NULL, text);
    line_finish(&line);
    backlog_add(line.bytes, line.size);
    lost = 0;
}

static void log_put(enum log_level level, const struct line *line)
{
    say_lost();
    if (lost == 0 && backlog_has_room(line->size)) {
        backlog_add(line->bytes, line->size);
        return;
    }
    lost_level = lost == 0 || level > lost_level ? level : lost_level;
    lost++;
}

static void log_flush_backlog(uint64_t now)
{
    bool any = backlog_flush();
    say_lost();
    if (backlog_is_empty()) {
        retry_span = 0;
        retry_at = CLOCK_NEVER;
        return;
    }
    retry_span = any || retry_span == 0 ? RETRY_FIRST : clock_earlier(2 * retry_span, RETRY_LONG);
    retry_at = clock_after(now, retry_span);
}

static void say_left_out(struct kind *kind)
{
    struct line line;
    char text[128];
    (void)snprintf(text, sizeof text, "%.64s: %u more line%s like this %s left out", kind->name, kind->left_out,
                   kind->left_out == 1 ? "" : "s", kind->left_out == 1 ? "was" : "were");
    line_start(&line, kind->level, NULL, text);
    line_finish(&line);
    log_put(kind->level, &line);
    kind->left_out = 0;
}

static struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (kinds[i].name == NULL) {
            kinds[i].name = name;
        }
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return &kinds[KINDS_MAX - 1]; /* not reached: the sources have fewer kinds */
}

bool log_pass(enum log_level level, const char *name)
{
    if (!log_enabled(level)) {
        return false;
    }
    lock();
    struct kind *kind = find_kind(name);
    uint64_t now = clock_now();
    bool passes = kind_free_at(kind) <= now;
    if (passes) {
        kind->spent_until = clock_after(kind->spent_until > now ? kind->spent_until : now, REFILL);
        if (kind->left_out > 0) {
            say_left_out(kind);
        }
    } else {
        kind->level = level;
        kind->left_out++;
    }
    unlock();
    return passes;
}

uint64_t log_due(void) { return atomic_load_explicit(&due, memory_order_relaxed); }

void log_tend(uint64_t now)
{
    if (log_due() > now) {
        return;
    }
    lock();
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (kinds[i].left_out > 0 && kind_free_at(&kinds[i]) <= now) {
            say_left_out(&kinds[i]);
        }
    }
    log_flush_backlog(now);
    unlock();
}

void log_finish(void)
{
    uint64_t now = clock_now();
    uint64_t give_up = clock_after(now, FINISH_LONG);
    uint64_t idle = clock_after(now, FINISH_IDLE);
    lock();
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (kinds[i].left_out > 0) {
            say_left_out(&kinds[i]);
        }
    }
    for (;;) {
        log_flush_backlog(now);
        if (retry_span == RETRY_FIRST) { /* some was written */
            idle = clock_after(now, FINISH_IDLE);
        }
        if (backlog_is_empty() || now >= clock_earlier(idle, give_up)) {
            break;
        }
        (void)poll(NULL, 0, 5);
        now = clock_now();
    }
    unlock();
}

static void line_write(enum log_level level, const struct line *line)
{
    lock();
    log_put(level, line);
    log_flush_backlog(clock_now());
    unlock();
}

void log_verbatim(const char *text, size_t size)
{
    lock();
    while (size > 0) {
        struct line line;
        const char *newline = memchr(text, '\n', size < LOG_LINE_SIZE ? size : LOG_LINE_SIZE);
        line.size = newline != NULL ? (size_t)(newline - text) : text_cut(text, size, LOG_LINE_SIZE - 1);
        memcpy(line.bytes, text, line.size);
        text += line.size + (newline != NULL);
        size -= line.size + (newline != NULL);
        line.bytes[line.size++] = '\n';
        log_put(LOG_LEVEL_ERROR, &line);
    }
    log_flush_backlog(clock_now());
    unlock();
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
    line_start(&line, level, NULL, text);
    line_finish(&line);
    line_write(level, &line);
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

void log_client(const char *kind, const char *format, ...)
{
    if (!log_pass(LOG_LEVEL_WARNING, kind)) {
        return;
    }
    char text[LOG_LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_trim_partial(text);
    log_warning("%s: %s", kind, text);
}

void log_about(enum log_level level, const struct log_request *request, const char *message, const char *detail)
{
    if (!log_enabled(level)) {
        return;
    }
    struct line line;
    char head[LOG_LINE_SIZE / 2];
    text_copy(head, sizeof head, message);
    line_start(&line, level, request, head);
    if (detail != NULL) {
        line_add_text(&line, "; ");
        line_add_end(&line, detail);
    }
    line_finish(&line);
    line_write(level, &line);
}

void log_with_detail(enum log_level level, const char *message, const char *detail)
{
    log_about(level, NULL, message, detail);
}
