#include "codec/output.h"

unsigned char *output_open(struct output *output, struct buffer *buffer)
{
    *output = (struct output){.buffer = buffer, .start = buffer->size, .limit = buffer->limit, .status = BUFFER_OK};
    if (__builtin_add_overflow(buffer->limit, (size_t)OUTPUT_SLACK, &buffer->limit)) {
        buffer->limit = output->limit;
    }
    if (buffer->data == NULL) {
        return output_grow(output, NULL, OUTPUT_ROOM);
    }
    output->end = buffer->data + buffer->capacity;
    return buffer->data + buffer->size;
}

unsigned char *output_grow(struct output *output, unsigned char *at, size_t size)
{
    struct buffer *buffer = output->buffer;
    buffer->size = at != NULL ? (size_t)(at - buffer->data) : buffer->size;
    output->status = buffer_reserve(buffer, size);
    if (output->status != BUFFER_OK) {
        return NULL;
    }
    output->end = buffer->data + buffer->capacity;
    return buffer->data + buffer->size;
}

bool output_close(struct output *output, unsigned char *at)
{
    struct buffer *buffer = output->buffer;
    size_t size = at != NULL ? (size_t)(at - buffer->data) : 0;
    if (size > output->limit) {
        output->status = BUFFER_LIMIT;
    }
    bool taken = at != NULL && output->status == BUFFER_OK;
    buffer->size = taken ? size : output->start;
    buffer->limit = output->limit;
    if (buffer->capacity > buffer->limit) {
        buffer->capacity = buffer->limit; /* the bytes beyond stay unused */
    }
    return taken;
}
