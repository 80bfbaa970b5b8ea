/*
 * Resource limits of this process (getrlimit(2)) with 64 bits. By the number of prlimit64, since libc's getrlimit and
 * setrlimit have had versions with 32 bits.
 */
#ifndef ASYA_BASE_LIMIT_H
#define ASYA_BASE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct limit {
    uint64_t soft;
    uint64_t hard;
};

/* `resource` is an RLIMIT_ constant. False if the kernel or a sandbox refuses. */
bool limit_get(int resource, struct limit *ret_limit);
bool limit_set(int resource, const struct limit *limit);

#endif
