/*
 * The chunked transfer coding of a request's body (RFC 9112, section 7.1), decoded in place. Pure, resumable, no
 * allocation.
 *
 * Strict: a size is 1 to 16 hexadecimal digits, followed by CR LF or ';' only, and every line ends with CR LF.
 * Extensions are skipped; trailer fields are checked and dropped. Both are limited in size.
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
    uint64_t left; /* while the size line is read: its value so far; then: bytes of the chunk still to come */
    uint32_t extension_bytes;
    uint32_t trailer_bytes;
    uint8_t digits;
    uint8_t state;
};

/* The state before the first byte of a body whose content may have `limit` bytes (ASYA_MAX_MESSAGE_SIZE). */
struct http1_chunked http1_chunked_make(size_t limit);

/* `body` has `*size` bytes: the content decoded before (chunked->size bytes), then what has arrived since. Afterwards
 * the first chunked->size bytes of `body` are content, and `*size` counts these plus, on WIRE_DONE, the bytes after the
 * body (the next request), which were moved up to the end of the content. On WIRE_MORE put the next bytes at body +
 * *size. On WIRE_BAD `err` has status 400, or 413 if a chunk's size exceeds the limit, and the bytes of `body` are
 * undefined. Do not feed it again after DONE or BAD. */
enum wire_step http1_chunked_feed(struct http1_chunked *chunked, unsigned char *body, size_t *size,
                                  struct http1_error *err);

#endif
