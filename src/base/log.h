/*
 * The runtime's log: records on standard error, for people or as JSON.
 *
 *   2026-01-31T23:59:59.123Z ERROR [order-17] processing_error: KeyError: 'text'
 *       Traceback (most recent call last):
 *         File "/app/handler.py", line 7, in process
 *   {"time":"2026-01-31T23:59:59.123Z","level":"ERROR","event":"request_failed","request_id":"order-17",...}
 *
 * A record in JSON is one line. In text it is one line, and below that the lines of its stack, each indented by four
 * blanks: so a line that begins with a time is a record of the runtime's, and nothing else begins so. On a terminal the
 * level has a colour, unless NO_COLOR is set (https://no-color.org).
 *
 * Control characters, C1 controls, U+2028/9, characters that turn the direction of text or cannot be seen (Unicode's
 * format characters, but for joiners) and invalid UTF-8 are escaped, so that no text from outside can begin a line of
 * its own, reach a terminal as a command or show as something else. The only newlines that are written as such are
 * those of a stack, in text. Callers never pass a payload.
 *
 * A record has LOG_RECORD_SIZE bytes at most: container runtimes cut longer lines in two. Its message is cut to
 * LOG_MESSAGE_MAX; a stack that does not fit then loses its beginning, since the end of a traceback says most.
 * docs/decisions/0023 says how records of several processes are kept apart.
 *
 * Level and format are process-wide, set once at start.
 *
 * Logging never waits for the reader of the log (base/backlog.h). Records that cannot be written yet are kept, up to
 * BACKLOG_SIZE bytes; further ones are lost, and a record in their place says how many. For those that a client can
 * cause any number of times ask log_pass() first. Any thread may log. A forked child drops the records that its parent
 * has kept.
 */
#ifndef ASYA_BASE_LOG_H
#define ASYA_BASE_LOG_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

enum event {
#define LOG_EVENT(name, text, meaning) EVENT_##name,
#include "base/events.def"
#undef LOG_EVENT
};

enum {
    LOG_RECORD_SIZE = 16384, /* bytes of a record with its last newline */
    LOG_MESSAGE_MAX = 4000,  /* bytes of its message, before escaping */
    LOG_NAME_MAX = 128,      /* bytes of each name that comes from a client */
};

/* Which request a record is about; each field may be empty. They come from the client: they are escaped, and cut to
 * LOG_NAME_MAX bytes each. */
struct log_request {
    struct view id;
    struct view traceparent; /* W3C Trace Context; one that is not valid is left out in JSON */
    struct view tracestate;  /* goes with it, and is not logged */
};

/* What is known of an event besides its text. All of it may be empty. */
struct log_facts {
    struct log_request request;
    uint32_t worker;        /* together with `pid`: the worker that it is about */
    int pid;                /* 0: it is about this process */
    const char *category;   /* an error category (base/errors.def) */
    const char *error_type; /* the name of an exception's class */
    uint64_t duration;      /* ns */
    const char *protocol;   /* of a request in the access log, with the bytes of its message and of its reply */
    uint64_t received;
    uint64_t sent;
    const char *stack;  /* NUL-terminated, of several lines */
    const char *stream; /* of what the function has printed: "stdout" or "stderr" */
    bool continues;     /* and the rest of the line comes in the next record */
};

/* Process-wide settings; the default is INFO and text. Resets the limits of log_pass(). */
void log_configure(enum log_level level, enum log_format format);

/* From now on this process is a worker: records that name no other are about it. */
void log_be_worker(uint32_t index);

/* From now on this process writes its log to a duplicate of descriptor 2 (base/backlog.h). Its number, or -errno. */
int log_keep_target(void);

/* The lowest level that is written. */
enum log_level log_level(void);
void log_set_level(enum log_level level);

/* Whether records of this level are written, so that callers can skip costly texts. */
int log_enabled(enum log_level level);

/* Whether this log is text on a terminal that shows colours. */
bool log_has_colours(void);

/* The sequence that begins the colour of a level. "\x1B[0m" ends it. */
const char *log_colour(enum log_level level);

/* One record. `facts` may be NULL. */
void log_event(enum log_level level, enum event event, const struct log_facts *facts, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

void log_debug(enum event event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(enum event event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warning(enum event event, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_error(enum event event, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the function has printed, at whatever level: as many records as it takes. A NUL follows the text. */
void log_output(const struct log_facts *facts, struct view text);

/* A record that was made elsewhere (python/log.h), with its newline; it has no NUL. */
void log_record(enum log_level level, struct view text);

/* Whether one more record of this kind may be written now: 20 at once, then one a second; a later record says how many
 * were left out. Counts the record as written. For events that a client can cause without effort, never for failures of
 * the function. `kind` is a literal, the beginning of such messages: all records of a kind share one limit. False if
 * the level is not written anyway. */
bool log_pass(enum log_level level, const char *kind);

/* A warning "KIND: ..." that log_pass() lets through. A kind that is an error category is noted as that. */
void log_client(enum event event, const char *kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* When log_tend() is to be called, to write records that wait and to log how many were left out; CLOCK_NEVER if nothing
 * waits. Both may be called at any time. */
uint64_t log_due(void);
void log_tend(uint64_t now);

/* Before the process ends: writes what waits, for as long as somebody reads it, but no longer than a second. */
void log_finish(void);

/* The name of an event in the JSON log, for what is written elsewhere (python/log.h). */
const char *log_event_name(enum event event);

#endif
