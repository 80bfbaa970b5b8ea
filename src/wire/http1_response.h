/*
 * Heads of HTTP/1.1 responses and the framing of streamed events (RFC 9112; docs/protocol.md). Pure; everything
 * is written into small arrays of the caller's or is static, so that body and events are sent from where they lie.
 */
#ifndef ASYA_WIRE_HTTP1_RESPONSE_H
#define ASYA_WIRE_HTTP1_RESPONSE_H

#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP1_RESPONSE_SIZE = 256,   /* bytes that any head fits into */
    HTTP1_EVENT_BEGIN_SIZE = 64, /* bytes that what stands before an event's data fits into */
    HTTP1_EVENT_NAME_MAX = 32,   /* bytes of an event's name; a longer one is cut */
};

struct http1_response {
    unsigned status;         /* 200, 204, 400, 404, 405, 413, 417, 500, 503 or 505; another becomes 500 */
    uint64_t content_length; /* bytes of JSON that follow; 204 has none */
    bool keep_alive;         /* false: says that the connection closes behind this response */
    uint8_t minor;           /* of the request: a client of HTTP/1.0 must be told that the connection stays open */
    const char *allow;       /* the methods of a 405, "POST" or "GET, HEAD"; NULL for none */
};

/* Writes the head; returns its bytes. A response to HEAD has the same head and no body. */
size_t http1_response_head(const struct http1_response *response, char target[HTTP1_RESPONSE_SIZE]);

/* "HTTP/1.1 100 Continue" with its line ends. Static storage. */
struct view http1_continue(void);

/* The head of a stream of events. HTTP/1.0 knows no chunks (RFC 9112, section 6.1): there the close ends the stream,
 * and http1_event_* must be told. Static storage. */
struct view http1_stream_head(bool chunked);

/* One event is http1_event_begin, `data_size` bytes of JSON on one line, http1_event_end; as one chunk if `chunked`.
 * Returns the bytes written to `target`. */
size_t http1_event_begin(const char *name, size_t data_size, bool chunked, char target[HTTP1_EVENT_BEGIN_SIZE]);
struct view http1_event_end(bool chunked);

/* The end of a stream that is whole; without it a client knows that the stream was cut. Empty unless `chunked`. Static
 * storage. */
struct view http1_stream_end(bool chunked);

#endif
