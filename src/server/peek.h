/* A peek at a connection that nobody has read from: tells what its client wants without taking a byte from it. */
#ifndef ASYA_SERVER_PEEK_H
#define ASYA_SERVER_PEEK_H

#include "wire/protocol.h"

#include <stddef.h>

enum peek {
    PEEK_SILENT,  /* nothing has arrived */
    PEEK_PARTIAL, /* a part of a short request, and its client may send the rest */
    PEEK_HEALTH,  /* GET or HEAD /healthz or /readyz with its whole head */
    PEEK_ALIVE,   /* likewise /livez or /startupz */
    PEEK_GONE,    /* its client has closed it without sending a byte: no reply is needed */
    PEEK_REQUEST, /* anything else is for a worker: a whole request, a long one, an invalid one, or the end */
};

enum { PEEK_SIZE = 4096 }; /* bytes that are looked at; a longer request always counts as PEEK_REQUEST */

/* `protocol` is ASYA_PROTOCOL, `limit` ASYA_MAX_MESSAGE_SIZE. */
enum peek peek_at(int connection, enum protocol protocol, size_t limit);

/* How many bytes have arrived, up to PEEK_SIZE. */
size_t peek_size(int connection);

/* The protocol that the first byte tells, or `protocol` if that is not PROTOCOL_AUTO or nothing has arrived. */
enum protocol peek_protocol(int connection, enum protocol protocol);

#endif
