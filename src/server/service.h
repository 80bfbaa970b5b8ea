/* What the server asks of whoever computes the answers: the Python binding, or an echo in tests and benchmarks. */
#ifndef ASYA_SERVER_SERVICE_H
#define ASYA_SERVER_SERVICE_H

#include "base/buffer.h"

#include <stdbool.h>

struct service {
    void *context;

    /* Computes the whole reply to one complete message into `reply`, which is empty and whose limit bounds it. The
     * message is the server's and is only read during the call. Returns true for a success reply, false for an error
     * reply; `reply` left empty means there was no memory for any. Logs its own failures. */
    bool (*answer)(void *context, const unsigned char *message, size_t size, struct buffer *reply);

    /* A signal interrupted the wait for connections. May be NULL. */
    void (*interrupted)(void *context);
};

#endif
