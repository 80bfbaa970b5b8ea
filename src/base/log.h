/*
 * The runtime's log: one line an event, to standard error, in one write.
 *
 *   2026-01-31T23:59:59.123Z INFO listening on /tmp/sockets/app.sock
 *   {"time":"2026-01-31T23:59:59.123Z","level":"INFO","message":"listening on /tmp/sockets/app.sock"}
 *
 * Control characters, C1 controls, U+2028/9, characters that turn the direction of text or cannot be seen (Unicode's
 * format characters, but for joiners) and invalid UTF-8 are escaped, so that no text from outside can begin a line of
 * its own, reach a terminal as a command or show as something else; lines are capped at LOG_LINE_SIZE. Callers never
 * pass a payload.
 *
 * A line about one request may name it, behind the level or as members of their own:
 *
 *   2026-01-31T23:59:59.123Z ERROR [order-17 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01] processing_error:
 * ...
 *   {"time":...,"level":"ERROR","request_id":"order-17","traceparent":"00-...","message":"processing_error: ..."}
 *
 * Level and format are process-wide, set once at start.
 *
 * The rule: logging never waits for whoever reads the log (base/backlog.h). Lines that cannot be written yet are kept;
 * once BACKLOG_SIZE bytes are, further ones are lost, and a line in their place says how many. What a client can cause
 * any number of times asks log_pass() first. Any thread may log; a forked child has nothing of what its parent kept.
 */
#ifndef ASYA_BASE_LOG_H
#define ASYA_BASE_LOG_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

enum { LOG_LINE_SIZE = 4096 }; /* bytes of a whole line with its newline; a pipe takes that much in one piece */

/* Process-wide settings; the default is INFO and text. log_pass() begins anew. */
void log_configure(enum log_level level, enum log_format format);

/* Whether lines of this level are written: lets callers skip costly texts. */
int log_enabled(enum log_level level);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One line with a long `detail` (a traceback) behind the message; what does not fit is cut from its beginning, since
 * the end of a traceback says most. Both are NUL-terminated. */
void log_with_detail(enum log_level level, const char *message, const char *detail);

/* Whether one more line of this kind may be written now: 20 at once, then one a second; a line says how many were left
 * out. For lines that a client can cause for nothing, never for what the function says. Counts the line as written.
 * `kind` is how such lines begin, a literal: those of one kind share a limit. False where the level is not written
 * anyway. */
bool log_pass(enum log_level level, const char *kind);

/* A warning "KIND: ..." that log_pass() lets through. */
void log_client(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Lines wait to be written, or to be counted: log_tend() is due then, from time to time until nothing is. Both may be
 * asked at any time; CLOCK_NEVER when nothing waits. */
uint64_t log_due(void);
void log_tend(uint64_t now);

/* Before the process ends: writes what waits, for as long as somebody reads it, but no longer than a second. */
void log_finish(void);

/* Text that is not the log's own (a traceback as Python prints it), line by line as it is, in its place between the
 * log's lines. Lines longer than LOG_LINE_SIZE are cut in two. */
void log_verbatim(const char *text, size_t size);

/* Which request a line is about; either may be empty. Both come from outside: they are escaped, and cut to
 * LOG_NAME_MAX bytes each. */
struct log_request {
    struct view id;
    struct view traceparent; /* W3C Trace Context */
};

enum { LOG_NAME_MAX = 128 };

/* As log_with_detail, for a line about `request`. `detail` may be NULL. */
void log_about(enum log_level level, const struct log_request *request, const char *message, const char *detail);

#endif
