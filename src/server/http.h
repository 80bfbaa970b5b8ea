/*
 * HTTP on a connection (wire contract, section 3): which requests go to the service, what the others get, and the head
 * of every reply.
 *
 *   POST /invoke        to the service
 *   GET, HEAD /healthz  answered here: 200 ready, 503 while stopping
 *   anything else       404 or 405
 */
#ifndef ASYA_SERVER_HTTP_H
#define ASYA_SERVER_HTTP_H

#include "server/conn.h"
#include "wire/step.h"

/* The state before the first byte of a request. */
void http_begin(struct conn *conn);

/* What has arrived of the request is `*size` bytes at `message`; chunks are decoded in place. WIRE_DONE: it is for the
 * service, and body_at, body_size and request_end are set. WIRE_BAD: it was answered here, and is over. */
enum wire_step http_feed(struct conn *conn, unsigned char *message, size_t *size);

/* Writes the head of a reply with `size` bytes of JSON into conn->head. */
void http_head(struct conn *conn, unsigned status, size_t size);

#endif
