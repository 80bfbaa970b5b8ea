/*
 * What a worker has printed, cut into lines, and whose each of them is: by the marks between them (base/marks.h).
 *
 * A line ends with a newline, or with the request. One of more than LINES_MOST bytes is given in pieces, cut between
 * characters. Of a line with carriage returns only what stands behind the last of them is given: what a terminal would
 * show of a progress bar in the end.
 *
 * Bounded: what waits here for its mark is what was read before that was known to come, and what a pipe holds, usually
 * 64 KiB. Pure.
 */
#ifndef ASYA_SUPERVISOR_LINES_H
#define ASYA_SUPERVISOR_LINES_H

#include "base/marks.h"

enum {
    LINES_MOST = 8192,     /* bytes of one piece: the log takes as much for a message */
    LINES_READ = 16 << 10, /* bytes of one read */
    LINES_SIZE = (64 << 10) + LINES_READ + LINES_MOST + MARK_SIZE_MAX,
};

struct lines {
    struct mark_head head;
    uint64_t since; /* when the oldest of the bytes here came; CLOCK_NEVER: there are none */
    uint64_t ends;  /* marks that were passed */
    size_t begin;   /* bytes[begin..size) are not given yet */
    size_t size;
    size_t looked;    /* no mark begins before this */
    struct mark mark; /* the next one, if has_mark; `at` counts from the beginning of `bytes` */
    bool has_mark;
    bool is_inside; /* the last piece has left its line open */
    char bytes[LINES_SIZE];
};

/* Which of the text is to be given. */
enum lines_share {
    LINES_MARKED, /* of which marks say whose it is */
    LINES_WHOLE,  /* and lines that are whole */
    LINES_SO_FAR, /* and the beginning of one that is not */
    LINES_LAST,   /* all there is: it ends here */
};

struct line_piece {
    struct view text;           /* valid until the next call */
    struct log_request request; /* whose it is, if is_known */
    bool is_known;
    bool continues; /* the line goes on */
};

/* For a new worker. */
void lines_reset(struct lines *lines, const struct mark_head *head);

/* Where to read to, LINES_READ bytes at most. Moves what is here. There is room once all that LINES_WHOLE gives was
 * taken. */
char *lines_room(struct lines *lines, size_t *ret_size);

/* So many bytes were read. */
void lines_add(struct lines *lines, size_t size, uint64_t now);

/* The next piece. False: no more of this share. */
bool lines_next(struct lines *lines, enum lines_share share, struct line_piece *ret_piece);

static inline bool lines_are_empty(const struct lines *lines) { return lines->begin == lines->size; }

#endif
