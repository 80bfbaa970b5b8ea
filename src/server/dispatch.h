/*
 * What is next on a connection: the one place that decides it. intake.c says what has come, output.c what could be
 * sent, the service what it did with a request; none of them acts on a connection but dispatch.c.
 */
#ifndef ASYA_SERVER_DISPATCH_H
#define ASYA_SERVER_DISPATCH_H

#include "server/conn.h"

/* ---- for server.c ----------------------------------------------------------------------------------------------- */

/* Takes over `fd`, a non-blocking CLOEXEC stream socket. Nothing is read from it yet. `kept`: another worker has
 * answered a request on it, and it is between two. NULL if there is no memory: it is answered and closed. */
struct conn *dispatch_accept(struct conn_host *host, int fd, bool kept);

/* There is no memory even for the connection's state, or no descriptor to keep it: a reply that needs none, in the form
 * that what has arrived asks for. Closes `fd`. */
void dispatch_turn_away(const struct conn_host *host, int fd);

/* Serves an accepted connection as far as it goes without waiting. */
void dispatch_begin(struct conn *conn);

/* The epoll set says there is something to do for `conn`. */
void dispatch_event(struct conn *conn, uint32_t events);

/* Acts on deadlines that had passed at `now`. Returns the next one. */
uint64_t dispatch_expire(struct conn_host *host, uint64_t now);

/* `conn` gives way to others (server/room.h): it is answered and closed. One that is idle, and has sent its next
 * request at this moment, is served and closed later. */
void dispatch_vacate(struct conn *conn);

/* Ends a kept connection that is between two requests: what its client has sent by now is answered first, in a later
 * round, and what it sends from now on fails there. */
void dispatch_part(struct conn *conn);

/* The runtime stops: whoever has sent nothing yet gets server_error; who is kept alive for a next request is closed. */
void dispatch_dismiss_silent(struct conn_host *host);

/* ---- for exchange.c, while the service has the request or in its name ---------------------------------------------
 */

/* Sends the service's reply, unless the supervisor has answered. `reply` keeps its body unless that must wait. */
void dispatch_deliver(struct conn *conn, struct reply *reply);

/* The reply is out, or there is nobody to take it: the next request, draining, or the end. */
void dispatch_finish(struct conn *conn);

/* The service has let go of the request: the next one on this connection has its turn, and whoever waits. In answer()
 * that is left until it returns. */
void dispatch_release(struct conn *conn);

#endif
