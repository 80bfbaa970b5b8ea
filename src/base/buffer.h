/*
 * A growing run of bytes with a cap.
 *
 * The struct is open and lives where its owner wants it; the bytes are malloc'ed. Capacity doubles, so appending is
 * amortised O(1), and never exceeds `limit`: that field says who bounds the memory. Not thread-safe.
 */
#ifndef ASYA_BASE_BUFFER_H
#define ASYA_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    unsigned char *data; /* NULL while capacity is 0 */
    size_t size;         /* bytes in use */
    size_t capacity;     /* bytes allocated */
    size_t limit;        /* capacity never grows beyond this */
};

enum buffer_status { BUFFER_OK, BUFFER_LIMIT, BUFFER_NO_MEMORY };

/* An empty buffer that may grow to `limit` bytes. Allocates nothing. */
static inline struct buffer buffer_make(size_t limit) { return (struct buffer){.limit = limit}; }

/* Frees the bytes and leaves an empty buffer with the same limit. */
static inline void buffer_done(struct buffer *buffer)
{
    if (buffer->data != NULL) {
        free(buffer->data);
    }
    *buffer = buffer_make(buffer->limit);
}

/* Forgets the content; keeps the memory if it is at most `keep` bytes, else frees it. */
static inline void buffer_reset(struct buffer *buffer, size_t keep)
{
    if (buffer->capacity > keep) {
        buffer_done(buffer);
    }
    buffer->size = 0;
}

/* The slow path of buffer_reserve: grows the allocation. On failure nothing changes. */
enum buffer_status buffer_grow(struct buffer *buffer, size_t more) __attribute__((warn_unused_result));

/* Makes room for `more` bytes after `size`. On failure (limit, malloc) nothing changes. */
static inline enum buffer_status buffer_reserve(struct buffer *buffer, size_t more)
{
    if (__builtin_expect(buffer->capacity - buffer->size >= more, 1)) {
        return BUFFER_OK;
    }
    return buffer_grow(buffer, more);
}

/* Appends `size` bytes; on failure nothing is appended. */
static inline enum buffer_status buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    enum buffer_status status = buffer_reserve(buffer, size);
    if (status == BUFFER_OK && size > 0) {
        memcpy(buffer->data + buffer->size, bytes, size);
        buffer->size += size;
    }
    return status;
}

/* An empty buffer in `bytes`, which stay the caller's: it never grows, so that no memory is allocated, and must not be
 * given to buffer_done(). */
static inline struct buffer buffer_fixed(unsigned char *bytes, size_t size)
{
    return (struct buffer){.data = bytes, .capacity = size, .limit = size};
}

#endif
