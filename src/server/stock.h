/*
 * The memory of the last large request and of the last large reply, kept for the next ones.
 *
 * If memory is returned to the kernel after each message, it has to be faulted in again for the next: a request and a
 * reply of 10 MB cost 7,600 page faults and 12 ms in the kernel, beside 6 ms of work. So a worker keeps one buffer for
 * requests and one for replies, each of STOCK_MOST bytes at most, and gives both back, with what the C library holds
 * free, a second after the last large message.
 *
 * They do not count towards ASYA_MAX_BUFFERED (budget.h): the first request of which 64 KB have arrived takes the kept
 * buffer, so it is idle only while no large request arrives.
 */
#ifndef ASYA_SERVER_STOCK_H
#define ASYA_SERVER_STOCK_H

#include "base/buffer.h"

#include <stdint.h>

enum {
    STOCK_LEAST = 1 << 18, /* a smaller buffer comes from what the C library keeps anyway */
    STOCK_MOST = 1 << 25,
    STOCK_IDLE = 1 << 20, /* bytes for replies that a worker keeps for ever */
};

struct stock {
    struct buffer request;
    struct buffer reply; /* also that of small ones, which a worker always has */
    uint64_t used;       /* when a large buffer came here last */
};

/* Ends the use of `buffer`. If it is large, and larger than `kept` (stock->request or stock->reply), it replaces that;
 * otherwise it is freed. */
void stock_keep(struct stock *stock, struct buffer *kept, struct buffer *buffer);

/* A request gets the buffer that is kept for its own, if that is larger; what has arrived of it is copied. */
void stock_take(struct stock *stock, struct buffer *request);

/* Gives back what has not been used for a second. Returns when to call it again. */
uint64_t stock_tend(struct stock *stock, uint64_t now);

#endif
