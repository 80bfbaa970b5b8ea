/*
 * The fdstore: a duplicate of every connection that a worker holds lies in the queue of a socketpair, where the end of
 * the worker does not close it.
 *
 *   worker:      accept -> fdstore_put -> read, call, write -> close -> fdstore_drop
 *   supervisor:  (the worker died)  fdstore_take -> reply or hand on -> close
 *
 * An entry is one socketpair. It holds the connection that has the slot of the same number on the scoreboard. The
 * worker holds both ends and the supervisor the receiving one, so the queue outlives the worker. The two system calls
 * cost 2.8 us for each connection (docs/decisions/0014; docs/reliability.md has the cost of the whole).
 */
#ifndef ASYA_SERVER_FDSTORE_H
#define ASYA_SERVER_FDSTORE_H

#include "server/scoreboard.h"

#include <stdbool.h>

enum { FDSTORE_KEPT = 16 }; /* entries that a worker starts with, and goes back to when it is idle */

struct fdstore {
    uint32_t count; /* entries made so far, at most SLOTS_MAX */
    int send[SLOTS_MAX];
    int receive[SLOTS_MAX];
};

/* Makes `more` entries. Returns 0, or -errno: then those made so far stay. */
int fdstore_grow(struct fdstore *fdstore, uint32_t more);

/* Closes the entries from number `kept` on, which must be empty. */
void fdstore_trim(struct fdstore *fdstore, uint32_t kept);

/* Closes all entries with what lies in them. */
void fdstore_done(struct fdstore *fdstore);

/* Puts a duplicate of `connection`, which stays the caller's, into an empty entry. Returns 0 or -errno (-ETOOMANYREFS:
 * too many in flight). */
int fdstore_put(const struct fdstore *fdstore, uint32_t entry, int connection);

/* Empties an entry: closes the duplicate in it, if there is one. Returns 0 or -errno (-EAGAIN: there was none). */
int fdstore_drop(const struct fdstore *fdstore, uint32_t entry);

/* Takes the connection out of an entry. Returns its descriptor, which the caller owns and which was checked to be a
 * Unix stream socket, or -errno: -EAGAIN if the entry is empty, -EPROTO if something else was in it (which is
 * closed). */
int fdstore_take(int receive_end);

/* As fdstore_take(), but the entry keeps its connection: returns a further duplicate, to watch or to answer on. */
int fdstore_peek(int receive_end);

/* Whether `fd` is a Unix stream socket, as all connections are. */
bool fdstore_is_connection(int fd);

#endif
