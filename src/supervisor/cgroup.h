/*
 * What the control group (cgroup, version 2 or 1) says: out-of-memory kills, the memory limit, the CPU quota.
 *
 * Read from the files under ASYA_CGROUP_ROOT (default /sys/fs/cgroup; another place in tests), below the path that
 * /proc/self/cgroup names or, in a container with its own cgroup namespace, at the root itself. What cannot be read is
 * reported as unknown, never guessed.
 */
#ifndef ASYA_SUPERVISOR_CGROUP_H
#define ASYA_SUPERVISOR_CGROUP_H

#include "base/options.h"

#include <stdbool.h>
#include <stdint.h>

/* Processes of this group the kernel's OOM killer has taken so far. False if unknown. */
bool cgroup_oom_kills(uint64_t *ret_count);

/* Bytes this group may use. False if unknown or unlimited. */
bool cgroup_memory_limit(uint64_t *ret_bytes);

/* A setting in bytes, also if it is a share of the memory limit; 0 if it is off, or a share of a limit that cannot be
 * read. In the latter case cgroup_warn_of_share logs that the variable `name` has no effect. */
uint64_t cgroup_share(const struct option_memory *memory);
void cgroup_warn_of_share(const struct option_memory *memory, const char *name);

/* CPUs this group may use, in thousandths (1500: one and a half). False if unknown or unlimited. */
bool cgroup_cpu_quota(uint64_t *ret_millis);

#endif
