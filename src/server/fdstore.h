/*
 * The fdstore: a duplicate of every connection a worker holds lies in a socketpair's queue, out of the worker's reach.
 *
 *   worker:      accept -> fdstore_put -> read, call, write -> fdstore_drop -> close
 *   supervisor:  (the worker died)  fdstore_take -> reply or hand on -> close
 *
 * A slot is one socketpair. The worker holds both ends, the supervisor the receiving one, so the queue outlives the
 * worker. Connections accepted together are stored together, in the slot of the first and in one message that names the
 * slot of each: what the two system calls cost (2.8 us) is nearly the same for eight as for one. They are dropped
 * together, once the last is closed (docs/decisions/0014).
 */
#ifndef ASYA_SERVER_FDSTORE_H
#define ASYA_SERVER_FDSTORE_H

#include "server/scoreboard.h"

#include <stdbool.h>

enum {
    FDSTORE_KEPT = 16, /* slots a worker starts with, and comes back to when it is idle */
    FDSTORE_GROUP = 8, /* connections stored together, at most */
};

struct fdstore {
    uint32_t count; /* slots made, at most SLOTS_MAX */
    int send[SLOTS_MAX];
    int receive[SLOTS_MAX];
};

/* Makes `more` slots. On failure those made so far stay and -errno is returned; else 0. */
int fdstore_grow(struct fdstore *fdstore, uint32_t more);

/* Closes the slots from number `kept` on, which must be empty. */
void fdstore_trim(struct fdstore *fdstore, uint32_t kept);

/* Closes all slots and what lies in them. */
void fdstore_done(struct fdstore *fdstore);

/* What lies in one slot: connections and the slots they have on the scoreboard. */
struct fdstore_group {
    uint32_t count;
    uint16_t slots[FDSTORE_GROUP];
    int fds[FDSTORE_GROUP];
};

/* Puts duplicates of 1 to FDSTORE_GROUP connections into an empty slot. Returns 0 or -errno (-ETOOMANYREFS: too many in
 * flight). The descriptors stay the caller's. */
int fdstore_put(const struct fdstore *fdstore, uint32_t slot, const struct fdstore_group *group);

/* Empties a slot, closing the `count` duplicates that lie in it. */
void fdstore_drop(const struct fdstore *fdstore, uint32_t slot, uint32_t count);

/* Takes what lies in a slot: descriptors the caller owns, each checked to be a Unix stream socket, each with a slot
 * below SLOTS_MAX; what is none is closed and left out. Returns 0, or -errno and nothing to own if there is nothing
 * (-EAGAIN) or something else was put there (-EPROTO). Of a group, those are lost for which the
 * table has no room. */
int fdstore_take(int receive_end, struct fdstore_group *ret_group);

/* A duplicate of the one connection there that has place `slot` on the scoreboard, to watch or to answer on: a
 * descriptor the caller owns, or as fdstore_take. What lies there stays. */
int fdstore_peek(int receive_end, uint32_t slot);

/* A Unix stream socket, as a connection is. */
bool fdstore_is_connection(int fd);

#endif
