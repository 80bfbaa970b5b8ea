/*
 * The end of a growing buffer, as the encoder writes to it: a place that lives in a register, and room that is looked
 * at once per value and then written to without checks.
 *
 * Asking for the worst case must not refuse a text that would just fit. So the buffer may grow by OUTPUT_SLACK beyond
 * its limit while the output is open, and what counts is the size when it is closed.
 */
#ifndef ASYA_CODEC_OUTPUT_H
#define ASYA_CODEC_OUTPUT_H

#include "base/buffer.h"

enum {
    OUTPUT_ROOM = 256,   /* what a value may write without asking, a key before it and punctuation included */
    OUTPUT_SLACK = 8192, /* nobody asks for more than this beyond what he is sure to write */
};

struct output {
    unsigned char *room_end; /* at any place up to this, OUTPUT_ROOM bytes are free */
    struct buffer *buffer;
    size_t start, limit; /* of the buffer, before */
    enum buffer_status status;
};

/* Opens the end of `buffer`; returns the place to write at, with room, or NULL with `status` set. Between this and
 * output_close nobody else uses the buffer. */
unsigned char *output_open(struct output *output, struct buffer *buffer);

/* The slow path of those below. */
unsigned char *output_grow(struct output *output, unsigned char *at, size_t size);

/* Makes OUTPUT_ROOM bytes free at the place. Returns it, which may have moved, or NULL with `status` set. */
static inline unsigned char *output_room(struct output *output, unsigned char *at)
{
    return __builtin_expect(at <= output->room_end, 1) ? at : output_grow(output, at, 0);
}

/* The same, behind `size` more bytes. */
static inline unsigned char *output_reserve(struct output *output, unsigned char *at, size_t size)
{
    bool free = at <= output->room_end && (size_t)(output->room_end - at) >= size;
    return __builtin_expect(free, 1) ? at : output_grow(output, at, size);
}

/* Takes what was written up to `at` into the buffer, or nothing if `at` is NULL or that is beyond the limit. True if it
 * was taken, else `status` says why, and is BUFFER_OK if the reason is the caller's. */
bool output_close(struct output *output, unsigned char *at);

#endif
