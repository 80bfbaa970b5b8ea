#include "server/spare.h"

#include "base/fd.h"
#include "base/limit.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

enum { KEPT = 8 }; /* so many threads of the function may take a number at the same moment */

/* Sets the soft limit. Reads the hard limit first, since the function may have changed it. */
static bool move(uint64_t soft)
{
    struct limit limit;
    if (!limit_get(RLIMIT_NOFILE, &limit) || soft > limit.hard) {
        return false;
    }
    limit.soft = soft;
    return limit_set(RLIMIT_NOFILE, &limit);
}

void spare_keep(struct spare *ret_spare)
{
    struct limit limit;
    *ret_spare = (struct spare){0};
    if (!limit_get(RLIMIT_NOFILE, &limit)) {
        return; /* a sandbox forbids it */
    }
    ret_spare->limit = limit.soft;
    ret_spare->is_kept = limit.soft <= limit.hard - KEPT && limit.hard >= KEPT;
    if (!ret_spare->is_kept && limit.soft > 8L * KEPT) {
        ret_spare->is_kept = move(limit.soft - KEPT);
        ret_spare->limit -= ret_spare->is_kept ? KEPT : 0;
    }
}

int spare_find(void)
{
    int found = eventfd(0, EFD_CLOEXEC);
    int number = found < 0 ? -errno : fd_raise(&found);
    number = number == 0 ? found : number;
    fd_close(&found);
    return number;
}

uint64_t spare_lend(const struct spare *spare, int number)
{
    struct limit limit;
    if (!spare->is_kept || (uint64_t)number + KEPT < spare->limit || !limit_get(RLIMIT_NOFILE, &limit) ||
        !move(limit.soft + KEPT)) {
        return 0;
    }
    return limit.soft;
}

void spare_take_back(uint64_t before)
{
    if (before > 0 && !move(before)) {
        return; /* the function has lowered the hard limit: the soft one is lower already */
    }
}
