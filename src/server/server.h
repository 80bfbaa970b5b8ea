/*
 * One worker's server: accepts from the shared listener, serves its connections, obeys the control channel.
 *
 * Single-threaded. Silent and slow clients wait in an epoll set; a request that arrives in one piece is accepted,
 * read, answered and closed in one go. Needs no Python.
 */
#ifndef ASYA_SERVER_SERVER_H
#define ASYA_SERVER_SERVER_H

#include "base/error.h"
#include "server/config.h"

#include <stdbool.h>
#include <stdint.h>

struct server;

/* Serves until told to drain (CONTROL_DRAIN) and all is answered, or until the other end of the control channel is
 * gone. Returns true then; false with `err` if it could not start. Opens, turns and closes. */
bool server_run(const struct server_config *config, struct error *err);

/* The same in steps, for a thread that has an event loop of its own. `config` is borrowed until server_close().
 *
 * server_open() returns NULL with `err` if it cannot start. */
struct server *server_open(const struct server_config *config, struct error *err);

/* Readable when there is something to do: the server's own epoll descriptor, which stays its own. */
int server_descriptor(const struct server *server);

/* When server_turn() must be called although the descriptor is not readable; CLOCK_NEVER: need not. Changes only in
 * server_turn() and in what server/exchange.h offers. */
uint64_t server_deadline(const struct server *server);

/* One round: what the sockets have to say, then deadlines that have passed. With `wait` it waits for the first of them;
 * without, it never waits but for the service. False when the server's work is over. */
bool server_turn(struct server *server, bool wait);

/* Makes the descriptor readable and service->collect() be called in the next turn. From any thread. */
void server_wake(struct server *server);

/* In a child that the function has forked: closes the server's own descriptors, and no connection. From now on
 * server_wake does nothing, and server_turn ends the process: only one of the two may serve. */
void server_leave(struct server *server);

/* Closes every connection and frees the server. */
void server_close(struct server *server);

#endif
