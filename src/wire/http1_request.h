/*
 * The head of an HTTP/1.1 or HTTP/1.0 request (RFC 9112; docs/protocol.md). Pure, resumable, no allocation.
 *
 * Strict, because request smuggling relies on two parsers that read the same bytes differently: every line ends with CR
 * LF; no folded line, no white space before a colon or an empty name; one Host, one Content-Length of digits alone, or
 * one Transfer-Encoding that is exactly "chunked", never both; one space between the parts of the request line. One
 * empty line before the request line is ignored (RFC 9112, section 2.2), a second is not.
 *
 *     step = http1_request_feed(&request, message, size, &err);
 *     WIRE_DONE: the body begins at message + request.head_size
 *       HTTP1_BODY_LENGTH:  it is request.content_length bytes; what follows is the next request
 *       HTTP1_BODY_CHUNKED: wire/http1_chunked.h decodes it
 */
#ifndef ASYA_WIRE_HTTP1_REQUEST_H
#define ASYA_WIRE_HTTP1_REQUEST_H

#include "base/view.h"
#include "wire/http1_error.h"
#include "wire/step.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP1_HEAD_MAX = 16384, /* bytes of a head including its line ends; a longer one is refused with 400 */
    HTTP1_FIELDS_MAX = 100, /* header fields; more are refused with 400 */
};

enum http1_method { HTTP1_OTHER, HTTP1_GET, HTTP1_HEAD, HTTP1_POST };

enum http1_body { HTTP1_BODY_NONE, HTTP1_BODY_LENGTH, HTTP1_BODY_CHUNKED };

/* A part of the head, by offset, since the caller's buffer may move between two feeds. */
struct http1_span {
    uint16_t at;
    uint16_t size;
};

struct http1_request {
    /* the request line; once it was read valid on WIRE_BAD too (before that `method` is HTTP1_OTHER) */
    enum http1_method method;
    uint8_t minor;          /* HTTP/1.minor: 0 or 1 */
    struct http1_span path; /* of the target, without the query; not decoded */

    /* valid on WIRE_DONE */
    enum http1_body body;
    bool keep_alive;                    /* the connection may be used for another request */
    bool expect_continue;               /* it waits for "100 Continue" before it sends the body */
    uint64_t content_length;            /* for HTTP1_BODY_LENGTH, at most the limit; else 0 */
    uint32_t head_size;                 /* bytes up to the body */
    struct http1_span content_encoding; /* other than identity; this and the next three are empty if absent, and the
                                           first one if repeated */
    struct http1_span request_id;       /* X-Request-ID */
    struct http1_span traceparent;      /* W3C Trace Context, not validated */
    struct http1_span tracestate;       /* likewise */

    /* private */
    uint64_t limit;   /* bytes of body */
    uint32_t line;    /* offset of the line that is being read */
    uint32_t checked; /* bytes looked at so far */
    uint32_t fields;
    uint8_t stage;
    bool has_host;
    bool has_length;
    bool has_encoding;
    bool has_unknown_expectation;
    bool says_close;
    bool says_keep_alive;
};

/* The state before the first byte of a request whose body may have `limit` bytes (ASYA_MAX_MESSAGE_SIZE). */
struct http1_request http1_request_make(uint64_t limit);

/* `message` is all that has arrived of this request; each byte is looked at once, however the pieces arrive. On
 * WIRE_BAD `err` has status 400, 413 (the announced body is over the limit), 417 (an expectation other than
 * 100-continue) or 505 (not HTTP/1.x). Do not feed it again after DONE or BAD. */
enum wire_step http1_request_feed(struct http1_request *request, const unsigned char *message, size_t size,
                                  struct http1_error *err);

/* The bytes of a span, in the message in which it was found. Borrows `message`. */
static inline struct view http1_view(const unsigned char *message, struct http1_span span)
{
    return (struct view){(const char *)message + span.at, span.size};
}

#endif
