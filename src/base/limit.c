#include "base/limit.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

bool limit_get(int resource, struct limit *ret_limit)
{
    return syscall(SYS_prlimit64, 0L, (long)resource, NULL, ret_limit) == 0;
}

bool limit_set(int resource, const struct limit *limit)
{
    return syscall(SYS_prlimit64, 0L, (long)resource, limit, NULL) == 0;
}
