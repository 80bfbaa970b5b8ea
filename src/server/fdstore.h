/*
 * The fdstore: a duplicate of every connection a worker holds lies in a socketpair's queue, out of the worker's reach.
 *
 *   worker:      accept -> fdstore_put -> read, call, write -> close -> fdstore_drop
 *   supervisor:  (the worker died)  fdstore_take -> reply or hand on -> close
 *
 * An entry is one socketpair, and holds the connection that has the slot of the same number on the scoreboard. The
 * worker holds both ends, the supervisor the receiving one, so the queue outlives the worker. The two system calls cost
 * 2.8 us a connection (docs/reliability.md, What it costs).
 */
#ifndef ASYA_SERVER_FDSTORE_H
#define ASYA_SERVER_FDSTORE_H

#include "server/scoreboard.h"

#include <stdbool.h>

enum { FDSTORE_KEPT = 16 }; /* entries a worker starts with, and comes back to when it is idle */

struct fdstore {
    uint32_t count; /* entries made, at most SLOTS_MAX */
    int send[SLOTS_MAX];
    int receive[SLOTS_MAX];
};

/* Makes `more` entries. On failure those made so far stay and -errno is returned; else 0. */
int fdstore_grow(struct fdstore *fdstore, uint32_t more);

/* Closes the entries from number `kept` on, which must be empty. */
void fdstore_trim(struct fdstore *fdstore, uint32_t kept);

/* Closes all entries and what lies in them. */
void fdstore_done(struct fdstore *fdstore);

/* Puts a duplicate of `connection`, which stays the caller's, into an empty entry. Returns 0 or -errno (-ETOOMANYREFS:
 * too many in flight). */
int fdstore_put(const struct fdstore *fdstore, uint32_t entry, int connection);

/* Empties an entry, closing the duplicate that lies in it, if one does. */
void fdstore_drop(const struct fdstore *fdstore, uint32_t entry);

/* Takes what lies in an entry: a connection the caller owns, checked to be a Unix stream socket. Returns it, or -errno:
 * -EAGAIN if there is nothing, -EPROTO if something else was put there, which is closed. */
int fdstore_take(int receive_end);

/* A duplicate of what lies there, as fdstore_take() returns it, to watch or to answer on. What lies there stays. */
int fdstore_peek(int receive_end);

/* A Unix stream socket, as a connection is. */
bool fdstore_is_connection(int fd);

#endif
