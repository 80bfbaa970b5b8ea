/*
 * Bare JSON, one request per connection (docs/protocol.md): where does the request end?
 *
 * Pure: no sockets, no allocation. The request's bytes stay with the caller; this keeps only the state between reads.
 */
#ifndef ASYA_WIRE_RAW_H
#define ASYA_WIRE_RAW_H

#include "base/error.h"
#include "base/view.h"
#include "wire/step.h"
#include "json/scan.h"

struct raw {
    struct scan scan;
    size_t seen;   /* bytes fed so far */
    bool done;     /* the value is complete; whatever else arrives with it belongs to the request, to be refused */
    bool bad;      /* no JSON value can start like this: only the end of the input is awaited */
    size_t bad_at; /* offset of the offending byte */
    size_t limit;  /* ASYA_MAX_MESSAGE_SIZE */
};

/* The state before the first byte of a request of at most `limit` bytes. */
struct raw raw_make(size_t limit);

/* `message` is all that has arrived, of which the first raw->seen bytes were fed before. On WIRE_BAD `err` is
 * ERR_TOO_LARGE. On WIRE_DONE the whole of `message` is the request: what follows the value has arrived too and is for
 * the decoder to judge. A message that starts no JSON value gives WIRE_MORE with raw->bad set, so that its category
 * does not depend on how its bytes were cut: bad UTF-8 further on takes precedence. */
enum wire_step raw_feed(struct raw *raw, const unsigned char *message, size_t size, struct error *err);

/* The peer sends no more, or waiting for more is over. WIRE_DONE with something to decode, or WIRE_BAD with ERR_EMPTY,
 * ERR_ENCODING or ERR_JSON. */
enum wire_step raw_end(const struct raw *raw, const unsigned char *message, size_t size, struct error *err);

/* A top-level number has arrived, of which nobody knows whether more digits come: it ends at white space, or when the
 * client half-closes. */
bool raw_is_number(const struct raw *raw);

#endif
