#include "wire/framed.h"

static uint32_t length_of(const unsigned char *message)
{
    return (uint32_t)message[0] << 24 | (uint32_t)message[1] << 16 | (uint32_t)message[2] << 8 | message[3];
}

enum wire_step framed_feed(size_t limit, const unsigned char *message, size_t size, struct view *ret_body,
                           struct error *err)
{
    if (size < FRAMED_PREFIX_SIZE) {
        return WIRE_MORE;
    }
    size_t length = length_of(message);
    if (length > limit) {
        error_set(err, ERR_TOO_LARGE, 0, "message of %zu bytes is larger than %zu bytes (ASYA_MAX_MESSAGE_SIZE)",
                  length, limit);
        return WIRE_BAD;
    }
    if (size - FRAMED_PREFIX_SIZE < length) {
        return WIRE_MORE;
    }
    *ret_body = (struct view){(const char *)message + FRAMED_PREFIX_SIZE, length};
    return WIRE_DONE;
}

void framed_end(const unsigned char *message, size_t size, struct error *err)
{
    if (size == 0) {
        error_set(err, ERR_EMPTY, 0, "no message");
    } else if (size < FRAMED_PREFIX_SIZE) {
        error_set(err, ERR_CONNECTION, size, "the connection ended after %zu of the 4 bytes of the length", size);
    } else {
        error_set(err, ERR_CONNECTION, size, "the connection ended after %zu of %zu bytes", size - FRAMED_PREFIX_SIZE,
                  (size_t)length_of(message));
    }
}

void framed_prefix(unsigned char target[FRAMED_PREFIX_SIZE], uint32_t size)
{
    for (int i = 0; i < FRAMED_PREFIX_SIZE; i++) {
        target[i] = (unsigned char)(size >> (24 - 8 * i));
    }
}
