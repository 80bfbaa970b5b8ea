/* A peek at a connection nobody has read from: what it asks for, without taking a byte from it. */
#ifndef ASYA_SERVER_PEEK_H
#define ASYA_SERVER_PEEK_H

#include "wire/protocol.h"

#include <stddef.h>

enum peek {
    PEEK_SILENT,  /* nothing has arrived */
    PEEK_PARTIAL, /* a part of a short request, and its client may send more */
    PEEK_HEALTH,  /* GET or HEAD /healthz, the whole head */
    PEEK_GONE,    /* its client has closed it without a byte: nobody wants anything */
    PEEK_REQUEST, /* anything else: a whole request, a long one, an invalid one, its end. For a worker */
};

enum { PEEK_SIZE = 4096 }; /* bytes looked at: of a longer request it is not told whether it is whole */

/* `protocol` is ASYA_PROTOCOL, `limit` ASYA_MAX_MESSAGE_SIZE. */
enum peek peek_at(int connection, enum protocol protocol, size_t limit);

/* How many bytes have arrived, up to PEEK_SIZE. */
size_t peek_size(int connection);

/* The protocol its first byte tells, or `protocol` where that is fixed or nothing has arrived. */
enum protocol peek_protocol(int connection, enum protocol protocol);

#endif
