/*
 * Parking: a duplicate of every connection a worker holds lies in a socketpair's queue, out of the worker's reach.
 *
 *   worker:      accept -> park_put -> read, call, write -> park_drop -> close
 *   supervisor:  (the worker died)  park_take -> reply or hand on -> close
 *
 * A slot is one socketpair. The worker holds both ends, the supervisor the receiving one, so the queue outlives the
 * worker. Measured cost: two system calls, about 2 us a message (design section 2).
 */
#ifndef ASYA_SERVER_PARK_H
#define ASYA_SERVER_PARK_H

#include "server/status.h"

#include <stdbool.h>

enum { PARK_KEPT = 16 }; /* slots a worker starts with, and comes back to when it is idle */

struct park {
    uint32_t count; /* slots made, at most SLOTS_MAX */
    int send[SLOTS_MAX];
    int receive[SLOTS_MAX];
};

/* Makes `more` slots. On failure those made so far stay and -errno is returned; else 0. */
int park_grow(struct park *park, uint32_t more);

/* Closes the slots from number `kept` on, which must be empty. */
void park_trim(struct park *park, uint32_t kept);

/* Closes all slots and what lies in them. */
void park_done(struct park *park);

/* Puts a duplicate of `connection` into an empty slot. Returns 0 or -errno (-ETOOMANYREFS: too many in flight). */
int park_put(const struct park *park, uint32_t slot, int connection);

/* Empties a slot, closing the duplicate that lies in it. */
void park_drop(const struct park *park, uint32_t slot);

/* Takes the connection out of a slot: a descriptor the caller owns, checked to be a Unix stream socket; -errno if there
 * is none (-EAGAIN) or something else was put there (-EPROTO). */
int park_take(int receive_end);

/* As park_take, but the connection stays parked: a duplicate to watch or to answer on. */
int park_peek(int receive_end);

/* A Unix stream socket, as a connection is. */
bool park_is_connection(int fd);

#endif
