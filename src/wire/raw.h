/*
 * Finds the end of a request in bare JSON, one request per connection (docs/protocol.md).
 *
 * Pure: no sockets, no allocation. The caller keeps the bytes of the request; struct raw has only the state between
 * reads.
 */
#ifndef ASYA_WIRE_RAW_H
#define ASYA_WIRE_RAW_H

#include "base/error.h"
#include "base/view.h"
#include "wire/step.h"
#include "json/scan.h"

struct raw {
    struct scan scan;
    size_t seen; /* bytes fed so far */
    bool done; /* the value is complete; other bytes that arrived with it count as part of the request, which is refused
                  for them */
    bool bad;  /* no JSON value can start like this: wait for the end of the input, then refuse */
    size_t bad_at; /* offset of the offending byte */
    size_t limit;  /* ASYA_MAX_MESSAGE_SIZE */
};

/* The state before the first byte of a request of at most `limit` bytes. */
static inline struct raw raw_make(size_t limit) { return (struct raw){.scan = scan_make(), .limit = limit}; }

/* `message` is all that has arrived, of which the first raw->seen bytes were fed before. On WIRE_BAD `err` is
 * ERR_TOO_LARGE. On WIRE_DONE all of `message` is the request: the decoder judges what follows the value. A message
 * that cannot be JSON gives WIRE_MORE with raw->bad set, not WIRE_BAD: bad UTF-8 further on takes precedence, so the
 * error must not depend on how many bytes have arrived yet. */
enum wire_step raw_feed(struct raw *raw, const unsigned char *message, size_t size, struct error *err);

/* The client sends no more, or we no longer wait for it. WIRE_DONE: there is something to decode. WIRE_BAD: ERR_EMPTY,
 * ERR_ENCODING or ERR_JSON. */
enum wire_step raw_end(const struct raw *raw, const unsigned char *message, size_t size, struct error *err);

/* A top-level number has arrived, to which more digits may follow: it ends at white space, or when the client
 * half-closes. */
bool raw_is_number(const struct raw *raw);

#endif
