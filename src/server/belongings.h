/*
 * The descriptors of the runtime in a worker's process, and how a child that the function forks closes its copies.
 *
 * A child that does not exec inherits every descriptor. If it kept the listening socket, the kernel would continue to
 * queue clients after supervisor and worker have ended, and nobody would answer them. If it kept the connections, their
 * clients would wait for an end of file that does not come. Such a child may live for a long time (a multiprocessing
 * pool, a daemon), so it closes its copies right after the fork.
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
