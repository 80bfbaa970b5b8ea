/*
 * The server of one worker: accepts from the listener that all workers share, serves its connections, and obeys the
 * supervisor's messages on the control channel.
 *
 * It has one thread. Silent and slow clients wait in an epoll set; a request that arrives in one piece is accepted,
 * read, answered and closed without entering it. Needs no Python.
 */
#ifndef ASYA_SERVER_SERVER_H
#define ASYA_SERVER_SERVER_H

#include "base/error.h"
#include "server/config.h"

#include <stdbool.h>
#include <stdint.h>

struct server;

/* Serves until the supervisor has said CONTROL_DRAIN and everything is answered, or until the other end of the control
 * channel is gone. Returns true then; false with `err` if the server could not start. */
bool server_run(const struct server_config *config, struct error *err);

/* The same in steps, for a thread that has an event loop of its own. `config` is borrowed until server_close().
 *
 * server_open() returns NULL with `err` if the server cannot start. */
struct server *server_open(const struct server_config *config, struct error *err);

/* The server's epoll descriptor, which is readable when there is something to do. The server owns it. */
int server_descriptor(const struct server *server);

/* When server_turn() must be called even if the descriptor is not readable; CLOCK_NEVER: it need not be. Changes only
 * in server_turn() and in the functions of server/exchange.h. */
uint64_t server_deadline(const struct server *server);

/* One round: handles what the sockets report, then the deadlines that have passed. With `wait` it first waits for the
 * next event or deadline; without, it waits for nothing except the service. False when the server's work is over. */
bool server_turn(struct server *server, bool wait);

/* Makes the descriptor readable, so that the next turn calls service->collect(). May be called from any thread. */
void server_wake(struct server *server);

/* To be called in a child that the function has forked: closes the server's own descriptors, but no connection. From
 * then on server_wake() does nothing and server_turn() ends the process, since only one of the two processes may
 * serve. */
void server_leave(struct server *server);

/* Closes every connection and frees the server. */
void server_close(struct server *server);

#endif
