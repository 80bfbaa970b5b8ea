/*
 * Marks in the output of a worker (ASYA_CAPTURE_OUTPUT, docs/decisions/0024): each tells which request printed the text
 * before it.
 *
 * Descriptors 1 and 2 of a worker are pipes to the supervisor. A mark is sent through the same pipe, between the bytes
 * of two requests, so it is at the right place however late it is read. It is shorter than PIPE_BUF, so the kernel
 * never splits it (pipe(7)). It begins with 15 random bytes chosen for this worker, so printed text is not mistaken for
 * a mark.
 *
 *   MARK_END     the text since the last mark belongs to this request, which ends here, and so does its last line
 *   MARK_ASIDE   the same where requests run side by side: a mark without a request, the text, and the mark of its
 *                request are written at once
 *
 * A request that has printed nothing writes no mark. Whether it has printed is found by counting, with two system calls
 * per request: the supervisor notes how many bytes it has taken from the pipe, the kernel says how many are in it, and
 * the worker knows how many of all these bytes are marks.
 */
#ifndef ASYA_BASE_MARKS_H
#define ASYA_BASE_MARKS_H

#include "base/log.h"
#include "base/view.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum mark_kind { MARK_END = 1, MARK_ASIDE };

enum {
    MARK_HEAD_SIZE = 16,
    MARK_SIZE_MAX = MARK_HEAD_SIZE + 3 + 2 * LOG_NAME_MAX,
    MARK_STREAMS = 2, /* standard output and error, in this order */
};

/* How marks of one worker begin. */
struct mark_head {
    char bytes[MARK_HEAD_SIZE];
};

/* Random bytes for a new worker. */
struct mark_head mark_head_make(void);

struct mark {
    enum mark_kind kind;
    size_t at; /* bytes before it */
    size_t size;
    struct log_request request; /* borrows from the text */
};

/* The first mark in `text`. If its end is not there yet, only `at` is set, and `size` is 0. False: there is none. */
bool mark_find(const struct mark_head *head, struct view text, struct mark *ret_mark);

/* On the scoreboard, for each stream. */
struct mark_counts {
    _Atomic uint64_t taken;   /* by the supervisor: twice the bytes it has read, and 1 while it reads */
    _Atomic uint64_t written; /* by the worker: how many MARK_END */
};

/* ---- in the worker; one thread at a time, that of the interpreter's lock ------------------------------------------
 */

/* From now on what is printed is marked. `pipes` are borrowed; the function may close or replace them, so a mark is
 * written only to the file that was there now. `ends`: one request at a time, and marks_end() is called. */
void marks_begin(const struct mark_head *head, const int pipes[MARK_STREAMS], struct mark_counts *counts, bool ends);

/* Whether output is captured. */
bool marks_are_on(void);

/* What was printed since the last call is of `request`, unless requests run side by side. */
void marks_end(const struct log_request *request);

/* Whether, in addition, requests run side by side: then each text needs a mark before and after it (python/stdio.h). */
bool marks_are_pairs(void);

/* Writes a mark to `target`. Returns its size. */
size_t marks_make(const struct log_request *request, char target[MARK_SIZE_MAX]);

#endif
