/*
 * The other side of the socket: one exchange with a serving runtime, before a deadline. For probes.
 *
 * Needs no Python and no signal setup; leaves no descriptor open.
 */
#ifndef ASYA_SERVER_CLIENT_H
#define ASYA_SERVER_CLIENT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum client_outcome {
    CLIENT_FAILED,   /* nobody accepts at this path, or the connection broke: the error says which */
    CLIENT_SILENT,   /* connected, but no byte came before the deadline */
    CLIENT_CLOSED,   /* closed by the other side without a byte */
    CLIENT_ANSWERED, /* at least one byte came: what arrived until the end, the deadline or the buffer's limit */
};

/* Connects to `path`, sends `request` (may be empty), half-closes if told to, and reads into `answer` until the other
 * side closes, the deadline (clock_now's time) passes, or `answer` is full. `err` is written only for CLIENT_FAILED. */
enum client_outcome client_exchange(const char *path, struct view request, bool half_close, uint64_t deadline,
                                    struct buffer *answer, struct error *err);

#endif
