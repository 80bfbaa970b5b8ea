/*
 * A client of a running runtime, for probes: one exchange, before a deadline.
 *
 * Needs no Python and sets up no signals; leaves no descriptor open.
 */
#ifndef ASYA_SERVER_CLIENT_H
#define ASYA_SERVER_CLIENT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum client_outcome {
    CLIENT_FAILED,   /* nobody accepts at this path, or the connection broke: `err` says which */
    CLIENT_SILENT,   /* connected, but nothing arrived before the deadline */
    CLIENT_CLOSED,   /* the other side closed the connection without a byte */
    CLIENT_ANSWERED, /* at least one byte arrived; `answer` has all until the end, the deadline or the limit */
};

/* Connects to `path`, sends `request` (may be empty), half-closes if told to, and reads into `answer` until the other
 * side closes, the deadline (clock_now's time) passes, or `answer` is full. `err` is written only for CLIENT_FAILED. */
enum client_outcome client_exchange(const char *path, struct view request, bool half_close, uint64_t deadline,
                                    struct buffer *answer, struct error *err);

#endif
