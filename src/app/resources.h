/*
 * What a worker may use of the machine, set in its process before the user's module is imported.
 *
 * Needs the GIL.
 */
#ifndef ASYA_APP_RESOURCES_H
#define ASYA_APP_RESOURCES_H

#include "base/options.h"

/* No new privileges (prctl PR_SET_NO_NEW_PRIVS). RLIMIT_DATA (ASYA_MEMORY_LIMIT): exhaustion becomes MemoryError
 * instead of a kill. The kernel's OOM killer prefers this process to the supervisor. OMP_NUM_THREADS and its like
 * follow the container's CPU quota, divided by the workers, unless the user has set them: numeric libraries otherwise
 * start a thread for each CPU of the node. What cannot be done is logged. */
void resources_limit(const struct options *options);

#endif
