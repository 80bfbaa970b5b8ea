/*
 * An order: one numbered request, what it asks of the function (handler.py), and the reply that is its own.
 *
 * Pure. Texts go into buffers of the caller's that have ORDER_ROOM bytes.
 */
#ifndef ASYA_CHAOS_ORDER_H
#define ASYA_CHAOS_ORDER_H

#include "chance.h"

#include <stddef.h>
#include <stdint.h>

enum {
    ORDER_LONG_PAD = 100000,  /* a request that arrives in several reads */
    ORDER_LONG_FILL = 300000, /* a reply that no socket buffer takes at once */
    ORDER_EVENTS_MAX = 6,
    ORDER_ROOM = 512 << 10, /* for the longest request or reply there is */
};

/* What may be the matter when a reply is an error. */
enum cause { CAUSE_NONE, CAUSE_CRASHED, CAUSE_EXITED, CAUSE_TIMEOUT, CAUSE_MEMORY, CAUSE_SERVER, CAUSES };
extern const char *const cause_names[CAUSES];

/* Something that ends or halts the worker, or is meant to. */
struct deed {
    const char *name;
    unsigned weight;
    enum cause cause; /* what a right reply may name besides what others bring about; CAUSE_NONE: nothing more */
};

struct order {
    uint64_t number;
    const struct deed *deed; /* NULL: nothing bad */
    const char *name;        /* of what the function does */
    bool is_health;          /* GET /healthz, which the function does not see. HTTP alone */
    unsigned pad;            /* bytes added to the request */
    unsigned fill;           /* bytes added to the reply */
    unsigned events;         /* of a stream; 0: it is none. HTTP alone */
    unsigned at;             /* the deed is done before this one of them */
};

enum form { FORM_RAW, FORM_FRAMED, FORM_HTTP };

/* One in `lethal` asks for a deed; 0: none does. */
struct order order_make(uint64_t number, struct chance *chance, unsigned lethal);
struct order order_make_stream(uint64_t number, struct chance *chance, unsigned lethal);

/* The message: bare JSON, the body behind a length prefix, or the body of POST /invoke. Returns its size. */
size_t order_message(const struct order *order, enum form form, char *target);

/* The reply that is this order's own and a success. Returns its size. */
size_t order_reply(const struct order *order, enum form form, char *target);

/* A long reply does not go out in one piece: the death of its worker may cut it. */
bool order_may_be_cut(const struct order *order);

#endif
