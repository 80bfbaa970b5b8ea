/*
 * Log lines on their way to standard error. Writing never waits, whether a reader has stalled, a terminal was stopped
 * or a disk is full. Lines that cannot be written now are kept, up to BACKLOG_SIZE bytes, and written later in order,
 * each line with one write if the file takes it whole.
 *
 * Not locked: the caller (base/log.c) lets one thread in at a time. The state belongs to the process; a forked child
 * drops what its parent had kept.
 */
#ifndef ASYA_BASE_BACKLOG_H
#define ASYA_BASE_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>

enum { BACKLOG_SIZE = 1 << 18 }; /* static, so the kernel provides memory only once nobody reads the log */

/* Whether `size` more bytes would be taken. */
bool backlog_has_room(size_t size);

/* Keeps one line, which ends with its newline and has no other. Only when there is room. */
void backlog_add(const char *line, size_t size);

/* Writes as much as is taken without waiting. True if at least one byte was taken. */
bool backlog_flush(void);

bool backlog_is_empty(void);

/* Drops what is kept: after a fork it is the parent's to write. */
void backlog_clear(void);

#endif
