#include "codec/output.h"

static unsigned char *output_place(struct output *output, size_t size)
{
    struct buffer *buffer = output->buffer;
    size_t more;
    if (__builtin_add_overflow(size, (size_t)OUTPUT_ROOM, &more)) {
        output->status = BUFFER_LIMIT;
        return NULL;
    }
    output->status = buffer_reserve(buffer, more);
    if (output->status != BUFFER_OK) {
        return NULL;
    }
    output->room_end = buffer->data + buffer->capacity - OUTPUT_ROOM;
    return buffer->data + buffer->size;
}

unsigned char *output_open(struct output *output, struct buffer *buffer)
{
    *output = (struct output){.buffer = buffer, .start = buffer->size, .limit = buffer->limit};
    if (__builtin_add_overflow(buffer->limit, (size_t)OUTPUT_SLACK, &buffer->limit)) {
        buffer->limit = output->limit;
    }
    return output_place(output, 0);
}

unsigned char *output_grow(struct output *output, unsigned char *at, size_t size)
{
    output->buffer->size = (size_t)(at - output->buffer->data);
    return output_place(output, size);
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
