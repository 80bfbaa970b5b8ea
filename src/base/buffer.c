#include "base/buffer.h"

#include <stdlib.h>

enum { SMALLEST_CAPACITY = 512 };

enum buffer_status buffer_grow(struct buffer *buffer, size_t more)
{
    size_t need;
    if (__builtin_add_overflow(buffer->size, more, &need) || need > buffer->limit) {
        return BUFFER_LIMIT;
    }
    size_t capacity = buffer->capacity < SMALLEST_CAPACITY ? SMALLEST_CAPACITY : buffer->capacity;
    while (capacity < need) {
        if (__builtin_mul_overflow(capacity, (size_t)2, &capacity)) {
            capacity = need;
        }
    }
    if (capacity > buffer->limit) {
        capacity = buffer->limit;
    }
    unsigned char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return BUFFER_NO_MEMORY;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return BUFFER_OK;
}
