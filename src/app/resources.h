/*
 * What a worker may use of the machine, set in its process before the user's module is imported.
 *
 * Needs the GIL.
 */
#ifndef ASYA_APP_RESOURCES_H
#define ASYA_APP_RESOURCES_H

#include "base/options.h"

#include <stddef.h>

/* No new privileges (prctl PR_SET_NO_NEW_PRIVS). RLIMIT_DATA (ASYA_MEMORY_LIMIT): exhaustion becomes MemoryError
 * instead of a kill. The kernel's OOM killer prefers this process to the supervisor. OMP_NUM_THREADS and its like
 * follow the container's CPU quota, divided by the workers, unless the user has set them: numeric libraries otherwise
 * start a thread for each CPU of the node. What cannot be done is logged. */
void resources_limit(const struct options *options);

/* ASYA_MAX_BUFFERED in bytes: what one worker may hold of requests that arrive or wait. Unset: a quarter of the memory
 * there is for a worker, 256 MiB where that is not known. Never less than two of the largest requests. */
size_t resources_max_buffered(const struct options *options);

#endif
