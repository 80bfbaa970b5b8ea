/* One connection in an fdstore entry, as most tests want it: stored in the slot that it has on the page. */
#ifndef ASYA_TEST_STORING_H
#define ASYA_TEST_STORING_H

#include "server/fdstore.h"

static inline int fdstore_one(const struct fdstore *fdstore, uint32_t slot, int connection)
{
    return fdstore_put(fdstore, slot,
                       &(struct fdstore_group){.count = 1, .slots = {(uint16_t)slot}, .fds = {connection}});
}

/* The one connection that lies there, or -errno. */
static inline int take_one(int receive_end)
{
    struct fdstore_group group;
    int status = fdstore_take(receive_end, &group);
    return status < 0 ? status : group.fds[0];
}

#endif
