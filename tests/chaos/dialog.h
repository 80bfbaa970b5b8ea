/*
 * What a client says and hears: one order over bare JSON or a length prefix, one or several over HTTP. Each order gets
 * its verdict before the call returns.
 */
#ifndef ASYA_CHAOS_DIALOG_H
#define ASYA_CHAOS_DIALOG_H

#include "chance.h"
#include "link.h"
#include "order.h"

#include <stdbool.h>
#include <stddef.h>

enum { PIPELINED_MAX = 4, DISCONNECT_ONE_IN = 300 };

/* Who talks. */
struct speaker {
    struct chance chance;
    bool shared; /* several requests run in one worker */
};

/* A connection of its own, which ends with the reply. */
void dialog_single(struct speaker *speaker, struct link *link, const struct order *order, enum form form);

/* Sends the orders together on `link`, which is opened if it is not, and kept open if the server keeps it. Those that
 * the server leaves to be sent again are. `way` says in messages which kind of connection this is. */
void dialog_http(struct speaker *speaker, struct link *link, const struct order *orders, size_t count, const char *way);

/* A kept connection is closed: whatever came on it since was not asked for. */
void dialog_leave(struct speaker *speaker, struct link *link, const char *way);

#endif
