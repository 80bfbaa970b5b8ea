/*
 * Heads of HTTP/1.1 responses and the framing of streamed events (RFC 9112; docs/protocol.md). Pure. Everything is
 * written into small arrays of the caller or is static, so bodies and events need not be copied to be sent.
 */
#ifndef ASYA_WIRE_HTTP1_RESPONSE_H
#define ASYA_WIRE_HTTP1_RESPONSE_H

#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP1_RESPONSE_SIZE = 256,   /* bytes of the longest head */
    HTTP1_EVENT_BEGIN_SIZE = 64, /* bytes of the longest beginning of an event, before its data */
    HTTP1_EVENT_NAME_MAX = 32,   /* bytes of an event's name; a longer one is cut */
};

struct http1_response {
    unsigned status;         /* one of the table in http1_response.c; any other becomes 500 */
    uint64_t content_length; /* bytes of content that follow; 204 has none */
    bool keep_alive;         /* false: the head says that the connection closes after this response */
    uint8_t minor;     /* of the request's version: an HTTP/1.0 client must be told if the connection stays open */
    const char *allow; /* the methods of a 405, "POST" or "GET, HEAD"; NULL for none */
    const char *type;  /* of the content; NULL: JSON */
};

/* Writes the head; returns its size. A response to HEAD has the same head and no body. */
size_t http1_response_head(const struct http1_response *response, char target[HTTP1_RESPONSE_SIZE]);

/* "HTTP/1.1 100 Continue" with its line ends. Static storage. */
struct view http1_continue(void);

/* The head of a stream of events. HTTP/1.0 has no chunks (RFC 9112, section 6.1): there closing the connection ends the
 * stream; pass the same `chunked` to http1_event_*. Static storage. */
struct view http1_stream_head(bool chunked);

/* One event is http1_event_begin, `data_size` bytes of JSON on one line, http1_event_end; as one chunk if `chunked`.
 * Returns the bytes written to `target`. */
size_t http1_event_begin(const char *name, size_t data_size, bool chunked, char target[HTTP1_EVENT_BEGIN_SIZE]);
struct view http1_event_end(bool chunked);

/* The end of a complete stream: a client that does not get it knows that the stream was cut. Empty unless `chunked`.
 * Static storage. */
struct view http1_stream_end(bool chunked);

#endif
