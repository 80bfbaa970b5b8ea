/* Which users may connect: those of ASYA_ALLOWED_UIDS, by the user id that the kernel noted when they connected
 * (SO_PEERCRED). */
#ifndef ASYA_SERVER_PEER_H
#define ASYA_SERVER_PEER_H

#include "base/options.h"

#include <stdbool.h>

/* Whether the peer of the connected Unix socket `fd` is on the list. An empty list, or NULL, allows everybody. The
 * process's own user is always allowed: it can do anything to this process anyway, and the container's probes run as
 * it. A peer whose id is not known is not allowed. A peer from another user namespace has the id that it is mapped to
 * here, or the overflow id 65534. */
bool peer_is_allowed(int fd, const struct option_uids *allowed);

/* The slow path of peer_admit(). */
bool peer_admit_listed(int *fd, const struct option_uids *allowed);

/* As peer_is_allowed(); a peer that is not allowed is logged, and *fd is closed and set to -1. A user id is logged
 * once, until another one is refused: a refused client must not be able to fill the log. */
static inline bool peer_admit(int *fd, const struct option_uids *allowed)
{
    return allowed == NULL || allowed->count == 0 || peer_admit_listed(fd, allowed);
}

#endif
