/*
 * The runtime's log: one line for each event, written to standard error with one write.
 *
 *   2026-01-31T23:59:59.123Z INFO listening on /tmp/sockets/app.sock
 *   {"time":"2026-01-31T23:59:59.123Z","level":"INFO","message":"listening on /tmp/sockets/app.sock"}
 *
 * Control characters, C1 controls, U+2028/9, characters that turn the direction of text or cannot be seen (Unicode's
 * format characters, but for joiners) and invalid UTF-8 are escaped, so that no text from outside can begin a line of
 * its own, reach a terminal as a command or show as something else; lines are capped at LOG_LINE_SIZE. Callers never
 * pass a payload.
 *
 * A line about one request may name it, after the level or in members of its own:
 *
 *   2026-01-31T23:59:59.123Z ERROR [order-17 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01] processing_error:
 * ...
 *   {"time":...,"level":"ERROR","request_id":"order-17","traceparent":"00-...","message":"processing_error: ..."}
 *
 * Level and format are process-wide, set once at start.
 *
 * Logging never waits for the reader of the log (base/backlog.h). Lines that cannot be written yet are kept, up to
 * BACKLOG_SIZE bytes; further ones are lost, and a line in their place says how many. For lines that a client can cause
 * any number of times ask log_pass() first. Any thread may log. A forked child drops the lines that its parent has
 * kept.
 */
#ifndef ASYA_BASE_LOG_H
#define ASYA_BASE_LOG_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

enum { LOG_LINE_SIZE = 4096 }; /* bytes of a line with its newline; a write of this size to a pipe is atomic */

/* Process-wide settings; the default is INFO and text. Resets the limits of log_pass(). */
void log_configure(enum log_level level, enum log_format format);

/* Whether lines of this level are written, so that callers can skip costly texts. */
int log_enabled(enum log_level level);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One line with a long `detail` (a traceback) after the message. If it does not fit its beginning is left out, since
 * the end of a traceback says most. Both are NUL-terminated. */
void log_with_detail(enum log_level level, const char *message, const char *detail);

/* Whether one more line of this kind may be written now: 20 at once, then one a second; later a line says how many were
 * left out. For lines that a client can cause without effort, never for the function's own. Counts the line as written.
 * `kind` is a literal, the beginning of such lines: all lines of a kind share one limit. False if the level is not
 * written anyway. */
bool log_pass(enum log_level level, const char *kind);

/* A warning "KIND: ..." that log_pass() lets through. */
void log_client(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* When log_tend() is to be called, to write lines that wait and to log how many were left out; CLOCK_NEVER if nothing
 * waits. Both may be called at any time. */
uint64_t log_due(void);
void log_tend(uint64_t now);

/* Before the process ends: writes what waits, for as long as somebody reads it, but no longer than a second. */
void log_finish(void);

/* Writes text that is not a log line (a traceback as Python prints it) unchanged, in order with the log's lines. Lines
 * longer than LOG_LINE_SIZE are split. */
void log_verbatim(const char *text, size_t size);

/* Which request a line is about; either field may be empty. Both come from the client: they are escaped, and cut to
 * LOG_NAME_MAX bytes each. */
struct log_request {
    struct view id;
    struct view traceparent; /* W3C Trace Context */
};

enum { LOG_NAME_MAX = 128 };

/* As log_with_detail, for a line about `request`. `detail` may be NULL. */
void log_about(enum log_level level, const struct log_request *request, const char *message, const char *detail);

#endif
