#include "base/log.h"

#include "base/backlog.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "base/traceparent.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level lowest = LOG_LEVEL_INFO;
static enum log_format style = LOG_TEXT;
static bool coloured;
static bool is_worker;
static uint32_t own_worker;

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

static const char *const level_colours[] = {"\x1B[2m", "\x1B[32m", "\x1B[33m",
                                            "\x1B[31m"}; /* dim, green, yellow, red */

static const char *const event_names[] = {
#define LOG_EVENT(name, text, meaning) text,
#include "base/events.def"
#undef LOG_EVENT
};

/* A record being built. LINE_RESERVE bytes at its end are kept for the closing quote, brace and newline. */
struct line {
    char *bytes;
    size_t capacity;
    size_t size;
};

enum {
    LINE_RESERVE = 8,
    SHORT_SIZE = 512, /* of records without any text from outside */
};

enum log_level log_level(void) { return lowest; }

void log_set_level(enum log_level level) { lowest = level; }

int log_enabled(enum log_level level) { return level >= lowest; }

bool log_has_colours(void) { return coloured; }

const char *log_colour(enum log_level level) { return level_colours[level]; }

const char *log_event_name(enum event event) { return event_names[event]; }

static size_t line_room(const struct line *line) { return line->capacity - LINE_RESERVE - line->size; }

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

/* In text: what stands for a newline of a stack. */
static const char indent[] = "\n    ";

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
 * that were. `is_stack`: a newline may be written as such, where records have several lines. */
static size_t encode(const unsigned char *text, bool is_stack, struct encoded *ret_encoded)
{
    if (is_stack && *text == '\n' && style == LOG_TEXT) {
        memcpy(ret_encoded->bytes, indent, sizeof indent - 1);
        ret_encoded->size = sizeof indent - 1;
        return 1;
    }
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

/* Appends text, escaped, as far as there is room, but no more than `most` bytes. Returns how much of it that was. */
static size_t line_add_text(struct line *line, struct view text, bool is_stack, size_t most)
{
    const unsigned char *next = (const unsigned char *)text.data;
    const unsigned char *end = next + text.size; /* a NUL stands there: decode() looks no further */
    const unsigned char *done = next;
    size_t room = line_room(line) < most ? line_room(line) : most;
    while (next < end) {
        struct encoded encoded = {.size = 0};
        next += encode(next, is_stack, &encoded);
        if (encoded.size > room) {
            break;
        }
        memcpy(line->bytes + line->size, encoded.bytes, encoded.size);
        line->size += encoded.size;
        room -= encoded.size;
        done = next;
    }
    return (size_t)((const char *)done - text.data);
}

/* A stack, without the newlines at its end. If there is no room for all of it, its beginning is left out. */
static void line_add_stack(struct line *line, const char *text)
{
    static const char omission[] = "...\n";
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n') {
        length--;
    }
    const unsigned char *next = (const unsigned char *)text;
    const unsigned char *end = next + length;
    struct encoded encoded = {.size = 0};
    size_t total = 0;
    for (const unsigned char *at = next; at < end; total += encoded.size) {
        at += encode(at, true, &encoded);
    }
    if (total > line_room(line)) {
        for (total += sizeof indent + sizeof omission; next < end && total > line_room(line); total -= encoded.size) {
            next += encode(next, true, &encoded);
        }
        (void)line_add_text(line, view_of(omission), true, SIZE_MAX);
    }
    (void)line_add_text(line, (struct view){(const char *)next, (size_t)(end - next)}, true, SIZE_MAX);
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

/* Text of our own, not escaped. Only for what is known to fit. */
static void line_add_own(struct line *line, const char *text)
{
    size_t size = strlen(text);
    memcpy(line->bytes + line->size, text, size);
    line->size += size;
}

static void line_add_time(struct line *line)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int year;
    int month;
    int day;
    civil_date(now.tv_sec / 86400, &year, &month, &day);
    int second = (int)(now.tv_sec % 86400);
    int size = snprintf(line->bytes + line->size, line_room(line), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month,
                        day, second / 3600, second / 60 % 60, second % 60, (int)(now.tv_nsec / 1000000));
    line->size += size > 0 ? (size_t)size : 0;
}

/* A name that comes from a client. Copied, since nothing need follow its last byte. */
static void line_add_name(struct line *line, struct view name)
{
    char text[LOG_NAME_MAX + 1];
    size_t size = text_cut(name.data, name.size, LOG_NAME_MAX);
    memcpy(text, name.data != NULL ? name.data : "", size);
    text[size] = '\0';
    (void)line_add_text(line, (struct view){text, size}, false, SIZE_MAX);
}

enum { MESSAGE_MOST = LOG_RECORD_SIZE / 2 }; /* bytes of a message once it is escaped */

/* ---- text ------------------------------------------------------------------------------------------------------- */

static void line_add_level(struct line *line, enum log_level level)
{
    line_add_own(line, coloured ? level_colours[level] : "");
    line_add_own(line, level_names[level]);
    line_add_own(line, coloured ? "\x1B[0m " : " ");
}

static void line_add_request(struct line *line, const struct log_request *request)
{
    bool both = request->id.size > 0 && request->traceparent.size > 0;
    if (request->id.size + request->traceparent.size == 0) {
        return;
    }
    line_add_own(line, "[");
    line_add_name(line, request->id);
    line_add_own(line, both ? " " : "");
    line_add_name(line, request->traceparent);
    line_add_own(line, "] ");
}

/* These return how much of the message they have written. */
static size_t line_write_text(struct line *line, enum log_level level, const struct log_facts *facts,
                              struct view message)
{
    line_add_time(line);
    line_add_own(line, " ");
    line_add_level(line, level);
    line_add_request(line, &facts->request);
    line_add_own(line, facts->stream != NULL ? facts->stream : "");
    line_add_own(line, facts->stream != NULL ? ": " : "");
    size_t used = line_add_text(line, message, false, MESSAGE_MOST);
    if (facts->stream != NULL && (used < message.size || facts->continues)) {
        line_add_own(line, " (continues)");
    }
    if (facts->stack != NULL && facts->stack[0] != '\0') {
        line_add_own(line, indent);
        line_add_stack(line, facts->stack);
    }
    line_add_own(line, "\n");
    return used;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* Begins a member whose value is a string. */
static void line_open_member(struct line *line, const char *name)
{
    line_add_own(line, line->size > 1 ? ",\"" : "\"");
    line_add_own(line, name);
    line_add_own(line, "\":\"");
}

/* A member with a name of ours, if it is not empty; or one with a client's. */
static void line_add_member(struct line *line, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        line_open_member(line, name);
        line_add_name(line, view_of(value));
        line_add_own(line, "\"");
    }
}

static void line_add_client_member(struct line *line, const char *name, struct view value)
{
    if (value.size > 0) {
        line_open_member(line, name);
        line_add_name(line, value);
        line_add_own(line, "\"");
    }
}

static void line_add_number(struct line *line, const char *name, const char *digits)
{
    line_add_own(line, ",\"");
    line_add_own(line, name);
    line_add_own(line, "\":");
    line_add_own(line, digits);
}

/* Who: the request, the worker, the process. */
static void line_add_who(struct line *line, const struct log_facts *facts)
{
    struct view trace = facts->request.traceparent;
    char digits[24];
    line_add_client_member(line, "request_id", facts->request.id);
    if (traceparent_is_valid(trace)) {
        line_add_client_member(line, "trace_id", (struct view){trace.data + TRACE_ID_AT, TRACE_ID_SIZE});
        line_add_client_member(line, "span_id", (struct view){trace.data + SPAN_ID_AT, SPAN_ID_SIZE});
    }
    if (facts->pid > 0 || is_worker) {
        (void)snprintf(digits, sizeof digits, "%u", (unsigned)(facts->pid > 0 ? facts->worker : own_worker));
        line_add_number(line, "worker", digits);
    }
    (void)snprintf(digits, sizeof digits, "%d", facts->pid > 0 ? facts->pid : (int)getpid());
    line_add_number(line, "pid", digits);
}

static size_t line_write_json(struct line *line, enum log_level level, enum event event, const struct log_facts *facts,
                              struct view message)
{
    line_add_own(line, "{");
    line_open_member(line, "time");
    line_add_time(line);
    line_add_own(line, "\"");
    line_add_member(line, "level", level_names[level]);
    line_open_member(line, "message");
    size_t used = line_add_text(line, message, false, MESSAGE_MOST);
    line_add_own(line, "\"");
    line_add_member(line, "event", event_names[event]);
    line_add_member(line, "stream", facts->stream);
    if (facts->stream != NULL && (used < message.size || facts->continues)) {
        line_add_number(line, "continues", "true");
    }
    line_add_who(line, facts);
    line_add_member(line, "category", facts->category);
    line_add_member(line, "error_type", facts->error_type);
    if (facts->duration > 0) {
        char digits[32];
        (void)snprintf(digits, sizeof digits, "%llu.%06llu", (unsigned long long)(facts->duration / CLOCK_SECOND),
                       (unsigned long long)(facts->duration % CLOCK_SECOND / 1000));
        line_add_number(line, "duration_seconds", digits);
    }
    if (facts->protocol != NULL) {
        char digits[24];
        line_add_member(line, "protocol", facts->protocol);
        (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)facts->received);
        line_add_number(line, "received_bytes", digits);
        (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)facts->sent);
        line_add_number(line, "sent_bytes", digits);
    }
    if (facts->stack != NULL && facts->stack[0] != '\0') {
        line_open_member(line, "stack");
        line_add_stack(line, facts->stack);
        line_add_own(line, "\"");
    }
    line_add_own(line, "}\n");
    return used;
}

static size_t line_build(struct line *line, enum log_level level, enum event event, const struct log_facts *facts,
                         struct view message)
{
    static const struct log_facts none;
    line->size = 0;
    if (style == LOG_JSON) {
        return line_write_json(line, level, event, facts != NULL ? facts : &none, message);
    }
    return line_write_text(line, level, facts != NULL ? facts : &none, message);
}

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

/* NO_COLOR: https://no-color.org. A terminal without a name, or a dumb one, shows no colours. */
static bool log_wants_colours(void)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return (no_colour == NULL || no_colour[0] == '\0') && terminal != NULL && terminal[0] != '\0' &&
           strcmp(terminal, "dumb") != 0 && isatty(STDERR_FILENO) == 1;
}

void log_configure(enum log_level level, enum log_format format)
{
    lock();
    lowest = level;
    style = format;
    coloured = format == LOG_TEXT && log_wants_colours();
    memset(kinds, 0, sizeof kinds);
    unlock();
}

void log_be_worker(uint32_t index)
{
    is_worker = true;
    own_worker = index;
}

int log_keep_target(void)
{
    lock();
    int kept = backlog_keep_target();
    unlock();
    return kept;
}

/* Logs how many records were lost, in their place, once there is room for that one and the longest other one. */
static void say_lost(void)
{
    if (lost == 0 || !backlog_has_room(LOG_RECORD_SIZE + SHORT_SIZE)) {
        return;
    }
    char bytes[SHORT_SIZE];
    struct line line = {.bytes = bytes, .capacity = sizeof bytes};
    char text[96];
    (void)snprintf(text, sizeof text, "%u line%s of this log %s lost here: nobody read it in time", lost,
                   lost == 1 ? "" : "s", lost == 1 ? "was" : "were");
    (void)line_build(&line, lost_level, EVENT_LOG_LOST, NULL, view_of(text));
    backlog_add(line.bytes, line.size);
    lost = 0;
}

static void log_put(enum log_level level, struct view bytes)
{
    say_lost();
    if (lost == 0 && backlog_has_room(bytes.size)) {
        backlog_add(bytes.data, bytes.size);
        return;
    }
    lost_level = lost == 0 || level > lost_level ? level : lost_level;
    lost++;
}

static void log_flush_backlog(uint64_t now, bool is_last)
{
    bool any = backlog_flush(is_last);
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
    char bytes[SHORT_SIZE];
    struct line line = {.bytes = bytes, .capacity = sizeof bytes};
    char text[128];
    (void)snprintf(text, sizeof text, "%.64s: %u more line%s like this %s left out", kind->name, kind->left_out,
                   kind->left_out == 1 ? "" : "s", kind->left_out == 1 ? "was" : "were");
    (void)line_build(&line, kind->level, EVENT_LOG_LEFT_OUT, NULL, view_of(text));
    log_put(kind->level, (struct view){line.bytes, line.size});
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
    log_flush_backlog(now, false);
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
        log_flush_backlog(now, false);
        if (retry_span == RETRY_FIRST) { /* some was written */
            idle = clock_after(now, FINISH_IDLE);
        }
        if (backlog_is_empty() || now >= clock_earlier(idle, give_up)) {
            break;
        }
        (void)poll(NULL, 0, 5);
        now = clock_now();
    }
    log_flush_backlog(now, true);
    unlock();
}

/* Built under the lock, so that one buffer serves all threads. */
static char record[LOG_RECORD_SIZE];

static void log_write(enum log_level level, enum event event, const struct log_facts *facts, const char *text)
{
    struct line line = {.bytes = record, .capacity = sizeof record};
    lock();
    (void)line_build(&line, level, event, facts, view_of(text));
    log_put(level, (struct view){line.bytes, line.size});
    log_flush_backlog(clock_now(), false);
    unlock();
}

void log_output(const struct log_facts *facts, struct view text)
{
    struct line line = {.bytes = record, .capacity = sizeof record};
    lock();
    do {
        size_t used = line_build(&line, LOG_LEVEL_INFO, EVENT_FUNCTION_OUTPUT, facts, text);
        text = (struct view){text.data + used, text.size - used};
        log_put(LOG_LEVEL_INFO, (struct view){line.bytes, line.size});
    } while (text.size > 0);
    log_flush_backlog(clock_now(), false);
    unlock();
}

void log_record(enum log_level level, struct view text)
{
    lock();
    log_put(level, text);
    log_flush_backlog(clock_now(), false);
    unlock();
}

__attribute__((format(printf, 4, 0))) static void
log_format(enum log_level level, enum event event, const struct log_facts *facts, const char *format, va_list arguments)
{
    char text[LOG_MESSAGE_MAX];
    int size = vsnprintf(text, sizeof text, format, arguments);
    if (size < 0) {
        return;
    }
    if ((size_t)size >= sizeof text) {
        text_trim_partial(text);
    }
    log_write(level, event, facts, text);
}

void log_event(enum log_level level, enum event event, const struct log_facts *facts, const char *format, ...)
{
    if (log_enabled(level)) {
        va_list arguments;
        va_start(arguments, format);
        log_format(level, event, facts, format, arguments);
        va_end(arguments);
    }
}

#define LOG_FUNCTION(name, level)                                                                                      \
    void name(enum event event, const char *format, ...)                                                               \
    {                                                                                                                  \
        if (log_enabled(level)) {                                                                                      \
            va_list arguments;                                                                                         \
            va_start(arguments, format);                                                                               \
            log_format(level, event, NULL, format, arguments);                                                         \
            va_end(arguments);                                                                                         \
        }                                                                                                              \
    }

LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)

static bool log_is_category(const char *kind)
{
    for (int category = ERR_NONE + 1; category < ERR_CATEGORIES; category++) {
        if (strcmp(error_code((enum error_category)category), kind) == 0) {
            return true;
        }
    }
    return false;
}

void log_client(enum event event, const char *kind, const char *format, ...)
{
    if (!log_pass(LOG_LEVEL_WARNING, kind)) {
        return;
    }
    struct log_facts facts = {.category = log_is_category(kind) ? kind : NULL};
    char text[LOG_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_trim_partial(text);
    log_event(LOG_LEVEL_WARNING, event, &facts, "%s: %s", kind, text);
}
