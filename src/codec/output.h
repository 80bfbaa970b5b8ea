/*
 * The end of a growing buffer, as the encoder writes to it: a place that lives in a register, room asked for once per
 * value and then written to without checks.
 *
 * Asking for the worst case must not refuse a text that would just fit. So the buffer may grow by OUTPUT_SLACK beyond
 * its limit while the output is open, and what counts is the size when it is closed.
 */
#ifndef ASYA_CODEC_OUTPUT_H
#define ASYA_CODEC_OUTPUT_H

#include "base/buffer.h"

enum {
    OUTPUT_ROOM = 64,    /* what every value leaves free behind itself, for the punctuation after it and a number */
    OUTPUT_SLACK = 8192, /* nobody may ask for more than this beyond what he is sure to write */
};

struct output {
    unsigned char *end; /* of the writable bytes */
    struct buffer *buffer;
    size_t start, limit; /* of the buffer, before */
    enum buffer_status status;
};

/* Opens the end of `buffer`; returns the place to write at. Between this and output_close nobody else uses it. */
unsigned char *output_open(struct output *output, struct buffer *buffer);

/* The slow path of output_reserve. */
unsigned char *output_grow(struct output *output, unsigned char *at, size_t size);

/* Makes `size` bytes writable at the place. Returns it, which may have moved, or NULL with `status` set. */
static inline unsigned char *output_reserve(struct output *output, unsigned char *at, size_t size)
{
    return __builtin_expect((size_t)(output->end - at) >= size, 1) ? at : output_grow(output, at, size);
}

/* Takes what was written up to `at` into the buffer, or nothing if `at` is NULL or that is beyond the limit. True if it
 * was taken, else `status` says why, and is BUFFER_OK if the reason is the caller's. */
bool output_close(struct output *output, unsigned char *at);

#endif
