/* What the server asks of whoever computes the answers: the Python binding, or an echo in tests and benchmarks. */
#ifndef ASYA_SERVER_SERVICE_H
#define ASYA_SERVER_SERVICE_H

#include "base/buffer.h"
#include "server/status.h"

#include <stdbool.h>

/* One complete message. Borrowed for the length of the call. */
struct request {
    const unsigned char *message;
    size_t size;
    uint64_t sequence;        /* number of the request in this worker, from 1 */
    struct status_slot *slot; /* where a cancellation would be written; NULL if nobody watches */
};

struct service {
    void *context;

    /* Computes the whole reply to one message into `reply`, which is empty and whose limit bounds it. Returns true for
     * a success reply, false for an error reply; `reply` left empty means there was no memory for any. Logs its own
     * failures. */
    bool (*answer)(void *context, const struct request *request, struct buffer *reply);

    /* A signal interrupted the wait for connections. May be NULL. */
    void (*interrupted)(void *context);
};

#endif
