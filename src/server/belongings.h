/*
 * What a worker's process holds of the runtime, and how a child that the function forks lets go of it.
 *
 * A child that does not exec has a copy of every descriptor. With the listening socket, the kernel would go on queueing
 * clients after supervisor and worker have ended, and nobody would answer them. With the connections, their clients
 * would wait for an end that does not come. Such a child may live for long (a pool of multiprocessing, a daemon), so it
 * closes its copies right after the fork.
 */
#ifndef ASYA_SERVER_BELONGINGS_H
#define ASYA_SERVER_BELONGINGS_H

#include "server/fdstore.h"
#include "server/server.h"

struct belongings {
    int listener; /* -1 for each that does not exist */
    int control;
    int queue;
    int fdholder;                  /* the fdholder's end of its channel, in this table since both share one */
    const struct fdstore *fdstore; /* NULL: there is none */
    struct server *server;         /* NULL: it does not serve yet */
};

/* To be called in the child, whichever thread has forked: closes the child's copies. The parent's descriptors stay as
 * they are, and so does the epoll set that both share. Afterwards only server_turn() and server_wake() may be called on
 * the server. */
void belongings_drop(struct belongings *belongings);

#endif
