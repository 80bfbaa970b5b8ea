/*
 * HTTP on a connection (docs/protocol.md): which requests go to the service, what the others get, and the head of every
 * reply.
 *
 *   POST /invoke        to the service
 *   GET, HEAD /healthz  200 ready, 503 while stopping
 *   anything else       404 or 405
 */
#ifndef ASYA_SERVER_HTTP_H
#define ASYA_SERVER_HTTP_H

#include "server/conn.h"
#include "server/verdict.h"

/* The state before the first byte of a request. */
void http_begin(struct conn *conn);

/* What has arrived of the request is `*size` bytes at `message`; chunks are decoded in place. REQUEST: it is for the
 * service, and body_at, body_size and request_end are set. MORE, FIXED, REFUSED, GONE: likewise as they say. */
enum verdict http_feed(struct conn *conn, unsigned char *message, size_t *size, struct verdict_details *ret_details);

/* Writes the head of a reply with `size` bytes of JSON into conn->head. `allow`: for 405, else NULL. */
void http_head(struct conn *conn, unsigned status, size_t size, const char *allow);

#endif
