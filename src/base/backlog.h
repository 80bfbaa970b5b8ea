/*
 * Log records on their way to standard error. Writing never waits, even if the reader has stalled, the terminal is
 * stopped or the disk is full. Records that cannot be written now are kept, up to BACKLOG_SIZE bytes, and written later
 * in order, each with one write if the file takes it whole. Several processes write to the same pipe, and the pipe may
 * take only a part of a record that is longer than PIPE_BUF. So such a record is kept for up to three seconds until no
 * other long one is being written and there is room for all of it.
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

/* Keeps one record, which has no NUL. Only when there is room. */
void backlog_add(const char *record, size_t size);

/* Writes as much as is taken without waiting. True if at least one byte was taken. `is_last`: the process ends, so that
 * a long record does not wait for room. */
bool backlog_flush(bool is_last);

bool backlog_is_empty(void);

/* Drops what is kept: after a fork it is the parent's to write. */
void backlog_clear(void);

/* From now on records are written to what descriptor 2 is now, by a duplicate: it is about to become another file. If
 * the function closes or replaces the duplicate, they are written to descriptor 2 again. Returns the duplicate's
 * number, which stays open, or -errno. */
int backlog_keep_target(void);

#endif
