#include "server/stock.h"

#include "base/clock.h"

#define STOCK_TIME (1 * CLOCK_SECOND)

/* Returns free pages to the kernel. glibc only, NULL elsewhere. */
extern int malloc_trim(size_t pad) __attribute__((weak));

/* Inlined it would make the image larger. */
static void stock_swap(struct buffer *one, struct buffer *other) __attribute__((noinline));

static void stock_swap(struct buffer *one, struct buffer *other)
{
    struct buffer former = *one;
    *one = *other;
    *other = former;
}

void stock_keep(struct stock *stock, struct buffer *kept, struct buffer *buffer)
{
    if (buffer->capacity >= STOCK_LEAST && buffer->capacity <= STOCK_MOST && buffer->capacity > kept->capacity) {
        stock_swap(kept, buffer);
        stock->used = clock_now();
    }
    buffer_done(buffer);
}

void stock_take(struct stock *stock, struct buffer *request)
{
    if (stock->request.capacity > request->capacity) {
        memcpy(stock->request.data, request->data, request->size);
        stock->request.size = request->size;
        stock_swap(&stock->request, request);
    }
}

uint64_t stock_tend(struct stock *stock, uint64_t now)
{
    if (stock->request.capacity == 0 && stock->reply.capacity <= STOCK_IDLE) {
        return CLOCK_NEVER;
    }
    uint64_t due = clock_after(stock->used, STOCK_TIME);
    if (due > now) {
        return due;
    }
    buffer_done(&stock->request);
    buffer_reset(&stock->reply, STOCK_IDLE);
    if (malloc_trim != NULL) {
        (void)malloc_trim(0);
    }
    return CLOCK_NEVER;
}
