/*
 * Where does the first JSON value of a byte stream end? Resumable, pure, no allocation.
 *
 * Finds the extent only: brackets are counted, not matched, and nothing inside is validated (the decoder does that).
 * So a malformed value ends where its brackets balance, and whoever sent it is answered without having to half-close.
 */
#ifndef ASYA_JSON_SCAN_H
#define ASYA_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scan_step {
    SCAN_MORE, /* the value is not complete; feed what comes next */
    SCAN_DONE, /* complete */
    SCAN_BAD,  /* no JSON value can begin with what came */
};

struct scan {
    uint64_t depth; /* open brackets */
    uint8_t state;  /* private */
    bool escaped;   /* the next byte follows a backslash inside a string */
};

/* The state before the first byte. */
static inline struct scan scan_make(void) { return (struct scan){0}; }

/* Feeds the next `size` bytes. On SCAN_DONE `*ret_end` is the number of these bytes up to the end of the value: a
 * top-level number ends before white space, a literal with its last letter. On SCAN_BAD it is the index of the
 * offending byte; on SCAN_MORE it is left alone. Must not be fed again after DONE or BAD. */
enum scan_step scan_feed(struct scan *scan, const unsigned char *bytes, size_t size, size_t *ret_end);

/* Nothing but white space was fed so far. */
bool scan_is_blank(const struct scan *scan);

/* A number has begun at the top level, and not ended. */
bool scan_is_number(const struct scan *scan);

#endif
