/*
 * HTTP on a connection (docs/protocol.md): which requests go to the service, what the others get, and the head of every
 * reply.
 *
 *   POST /invoke                  to the service
 *   GET, HEAD /healthz, /readyz   200; 503 while stopping or draining, and while the function's health check fails
 *   GET, HEAD /livez, /startupz   200: no connection is served before the function was loaded
 *   anything else                 404 or 405
 */
#ifndef ASYA_SERVER_HTTP_H
#define ASYA_SERVER_HTTP_H

#include "server/conn.h"
#include "server/verdict.h"

/* The error text for a client that sends None, True or NaN, which begin with a capital letter as HTTP methods do. */
#define HTTP_WORD_HINT "a capital letter begins an HTTP request, and JSON writes null, true and false"

/* Whether all that has arrived is one such word, with or without the end of its line. */
bool http_is_word(const unsigned char *message, size_t size);

/* Prepares for the first byte of a request. */
void http_begin(struct conn *conn);

/* `*size` bytes of the request have arrived at `message`; chunks are decoded in place, which makes `*size` smaller.
 * Returns REQUEST if it is for the service: then conn->body_at, body_size and request_end are set. Otherwise returns
 * MORE, FIXED, REFUSED or GONE, with what server/verdict.h says of them in `ret_details`. */
enum verdict http_feed(struct conn *conn, unsigned char *message, size_t *size, struct verdict_details *ret_details);

/* Writes the head of a reply with `size` bytes of JSON into conn->head. `allow`: value of the header Allow for 405,
 * else NULL. */
void http_head(struct conn *conn, unsigned status, size_t size, const char *allow);

#endif
