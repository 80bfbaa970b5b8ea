/* One connection in a parking slot, as most tests want it: parked in the slot that it has on the page. */
#ifndef ASYA_TEST_PARKING_H
#define ASYA_TEST_PARKING_H

#include "server/park.h"

static inline int park_one(const struct park *park, uint32_t slot, int connection)
{
    return park_put(park, slot, &(struct park_group){.count = 1, .slots = {(uint16_t)slot}, .fds = {connection}});
}

/* The one connection that lies there, or -errno. */
static inline int take_one(int receive_end)
{
    struct park_group group;
    int status = park_take(receive_end, &group);
    return status < 0 ? status : group.fds[0];
}

#endif
