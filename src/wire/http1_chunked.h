/*
 * The chunked transfer coding of a request's body (RFC 9112, section 7.1), decoded in place. Pure, resumable, no
 * allocation.
 *
 * Strict: sizes are hexadecimal digits alone (up to 16), nothing but CR LF or ';' follows them, and every line ends
 * with CR LF. Extensions are skipped and trailer fields are checked and dropped, both within bounds.
 */
#ifndef ASYA_WIRE_HTTP1_CHUNKED_H
#define ASYA_WIRE_HTTP1_CHUNKED_H

#include "wire/http1_error.h"
#include "wire/step.h"

#include <stddef.h>
#include <stdint.h>

enum {
    HTTP1_EXTENSIONS_MAX = 4096, /* bytes of all extensions of a body; more are refused with 400 */
    HTTP1_TRAILERS_MAX = 4096,   /* bytes of all trailer lines, each LF left out; more are refused with 400 */
};

struct http1_chunked {
    size_t size; /* bytes of content decoded so far */

    /* private */
    size_t limit;
    size_t seen;   /* bytes of the encoded body so far */
    uint64_t left; /* of the chunk: what its size line has said so far, then what is to come */
    uint32_t extension_bytes;
    uint32_t trailer_bytes;
    uint8_t digits;
    uint8_t state;
};

/* The state before the first byte of a body whose content may have `limit` bytes (ASYA_MAX_MESSAGE_SIZE). */
struct http1_chunked http1_chunked_make(size_t limit);

/* `body` holds `*size` bytes: the content decoded before (chunked->size bytes), then what has arrived since. Afterwards
 * the content is the first chunked->size bytes of `body`, and `*size` counts these and, on WIRE_DONE, the bytes that
 * followed the body (the next request), moved up behind the content. On WIRE_MORE the next bytes are to be put at
 * body + *size. On WIRE_BAD `err` has status 400 or 413 (more content than the limit, known from the chunk's size), and
 * what `body` holds is undefined. Must not be fed again after DONE or BAD. */
enum wire_step http1_chunked_feed(struct http1_chunked *chunked, unsigned char *body, size_t *size,
                                  struct http1_error *err);

#endif
