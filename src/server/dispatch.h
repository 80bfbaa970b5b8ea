/* Decides what happens next on a connection. intake.c reports what has arrived, output.c how much could be sent, and
 * the service what it did with a request. Only dispatch.c acts on these results, so this is the one place to look for
 * what a connection does and when it ends. */
#ifndef ASYA_SERVER_DISPATCH_H
#define ASYA_SERVER_DISPATCH_H

#include "server/conn.h"

/* ---- for server.c ----------------------------------------------------------------------------------------------- */

/* Takes over `fd`, a non-blocking CLOEXEC stream socket. Nothing is read from it yet. `kept`: another worker has
 * answered a request on this connection, and the next one has not begun. Without memory the client gets its reply, the
 * connection is closed, and NULL is returned. */
struct conn *dispatch_accept(struct conn_host *host, int fd, bool kept);

/* For a connection for which there is no memory or no descriptor: sends an out_of_memory reply that needs neither, in
 * the protocol of what has arrived so far. `kept` as above: then only if a request has arrived. Closes `fd`. */
void dispatch_turn_away(const struct conn_host *host, int fd, bool kept);

/* Serves an accepted connection as far as it goes without waiting. */
void dispatch_begin(struct conn *conn);

/* Handles what epoll reports for `conn`. */
void dispatch_event(struct conn *conn, uint32_t events);

/* Acts on the deadlines that had passed at `now`. Returns the next deadline. */
uint64_t dispatch_expire(struct conn_host *host, uint64_t now);

/* `conn` gives way to another connection (server/room.h): it is answered and closed. If it is idle and its client sends
 * the next request at this very moment, that request is served first and the connection is closed later. */
void dispatch_vacate(struct conn *conn);

/* Ends a kept-alive connection between two requests. What its client has sent so far is answered first, in a later
 * round; what it sends from now on fails on its side. */
void dispatch_part(struct conn *conn);

/* The runtime stops: a client that has sent nothing yet gets server_error, and a connection that is kept alive for a
 * next request is closed. */
void dispatch_dismiss_silent(struct conn_host *host);

/* ---- for exchange.c, on behalf of the service ---------------------------------------------------------------------
 */

/* Sends the service's reply, unless the supervisor has answered already. The body is moved out of `reply` only if a
 * part of it must wait for the client. */
void dispatch_deliver(struct conn *conn, struct reply *reply);

/* The reply was sent, or the client is gone: goes on with the next request, with draining, or closes the connection. */
void dispatch_finish(struct conn *conn);

/* The service is done with the request: its capacity goes to the next request on this connection and to those in
 * QUEUED. If the service is in answer() now, that happens after it has returned. */
void dispatch_release(struct conn *conn);

#endif
