/*
 * What a worker's process holds of the runtime, and how a child that the function forks lets go of it.
 *
 * A child without exec has a copy of every descriptor: of the listening socket, so that after the end of supervisor and
 * worker the kernel goes on to queue clients for nobody; of the connections, so that their clients wait for an end that
 * does not come. A child lives as long as it likes (a pool of multiprocessing, a daemon), so it lets go at once.
 */
#ifndef ASYA_SERVER_BELONGINGS_H
#define ASYA_SERVER_BELONGINGS_H

#include "server/fdstore.h"
#include "server/server.h"

struct belongings {
    int listener; /* -1 for what there is not */
    int control;
    int queue;
    int fdholder;                  /* the fdholder's end of its channel: the table is one */
    const struct fdstore *fdstore; /* NULL: none */
    struct server *server;         /* NULL: it does not serve yet */
};

/* In the child, whichever thread has forked: closes its copies of all that. The parent's stay as they are, those that
 * the shared epoll set watches included. The server must not be used any more, but for server_turn and server_wake. */
void belongings_drop(struct belongings *belongings);

#endif
