/*
 * Lines on their way to standard error. Writing them never waits: neither for a reader that has stalled, nor for a
 * terminal that was stopped, nor for a disk that is full. What cannot be written now is kept, up to BACKLOG_SIZE bytes,
 * and goes out later, in order, each line in one write as far as the file takes it whole.
 *
 * Whoever calls keeps others out: nothing here is locked. The state is the process's; a child forgets its parent's.
 */
#ifndef ASYA_BASE_BACKLOG_H
#define ASYA_BASE_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>

enum { BACKLOG_SIZE = 1 << 18 }; /* memory is taken only as it fills: once, when nobody reads */

/* Whether `size` more bytes would be taken. */
bool backlog_has_room(size_t size);

/* Keeps one line, which ends with its newline and has no other. Only when there is room. */
void backlog_add(const char *line, size_t size);

/* Writes as much as is taken without waiting. True if at least one byte was taken. */
bool backlog_flush(void);

bool backlog_is_empty(void);

/* Forgets what is kept: it is another process's. */
void backlog_clear(void);

#endif
