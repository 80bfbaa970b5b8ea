/*
 * A client's connection: blocking, with patience, and with what was read and not yet looked at.
 */
#ifndef ASYA_CHAOS_LINK_H
#define ASYA_CHAOS_LINK_H

#include "order.h"

#include <stdbool.h>
#include <stddef.h>

enum { LINK_ROOM = ORDER_ROOM, PATIENCE_S = 20 };

enum link_state {
    LINK_OPEN,
    LINK_ENDED, /* the server closed */
    LINK_RESET, /* ... and a reset told so */
    LINK_LATE,  /* nothing came in time */
};

struct link {
    int fd; /* -1: closed here */
    enum link_state state;
    size_t size;           /* bytes read and not taken */
    char bytes[LINK_ROOM]; /* these, and a NUL */
};

/* Where to connect. False if the path is too long. */
bool link_set_path(const char *path);

/* Opens it anew. A runtime that cannot be reached ends the program. */
void link_dial(struct link *link);
void link_close(struct link *link);

/* Sends all of it. Returns how much the socket took before the server closed. */
size_t link_send(struct link *link, const char *bytes, size_t size);

/* Waits for more bytes, for the end or for the end of the patience. False if nothing came: link->state says why. */
bool link_read(struct link *link);

/* Reads until the server closes. */
void link_read_all(struct link *link);

/* Looks for `ms` milliseconds whether bytes or the end come by themselves. */
void link_listen(struct link *link, int ms);

/* The first `size` bytes have been looked at. */
void link_take(struct link *link, size_t size);

/* Why nothing came, in words. */
const char *link_reason(const struct link *link);

#endif
