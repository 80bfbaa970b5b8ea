/* A glance at a connection nobody has read from: what it asks for, without taking a byte from it. */
#ifndef ASYA_SERVER_GLANCE_H
#define ASYA_SERVER_GLANCE_H

#include "wire/protocol.h"

#include <stddef.h>

enum glance {
    GLANCE_SILENT,  /* nothing has arrived */
    GLANCE_PARTIAL, /* a part of a short request, and its client may send more */
    GLANCE_HEALTH,  /* GET or HEAD /healthz, the whole head */
    GLANCE_GONE,    /* its client has closed it without a byte: nobody wants anything */
    GLANCE_REQUEST, /* anything else: a whole request, a long one, an invalid one, its end. For a worker */
};

enum { GLANCE_SIZE = 4096 }; /* bytes looked at: of a longer request it is not told whether it is whole */

/* `protocol` is ASYA_PROTOCOL, `limit` ASYA_MAX_MESSAGE_SIZE. */
enum glance glance_at(int connection, enum protocol protocol, size_t limit);

/* How many bytes have arrived, up to GLANCE_SIZE. */
size_t glance_size(int connection);

/* The protocol its first byte tells, or `protocol` where that is fixed or nothing has arrived. */
enum protocol glance_protocol(int connection, enum protocol protocol);

#endif
