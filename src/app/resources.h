/*
 * Limits of a worker, set in its process before the user's module is imported.
 *
 * Needs the GIL.
 */
#ifndef ASYA_APP_RESOURCES_H
#define ASYA_APP_RESOURCES_H

#include "base/options.h"

#include <stddef.h>
#include <stdint.h>

/* Sets:
 *
 *   no new privileges      prctl PR_SET_NO_NEW_PRIVS
 *   ASYA_MEMORY_LIMIT      so that Python raises MemoryError before the kernel kills (python/memory.h)
 *   the OOM score          so that the kernel's OOM killer prefers this process to the supervisor
 *   OMP_NUM_THREADS etc.   to the container's CPU quota divided by the number of workers, unless the user has set them:
 *                          otherwise numeric libraries would start a thread for each CPU of the node
 *   ASYA_WORKER            to the worker's number, from which the function can derive a port or a GPU
 *
 * A failure is logged, and the worker goes on without that. */
void resources_limit(const struct options *options, uint32_t worker);

/* ASYA_WORKER alone, in a worker that the template has forked: it has the rest from there. */
void resources_name_worker(uint32_t worker);

/* ASYA_MAX_BUFFERED in bytes: the memory of one worker for requests that arrive or wait. If unset: a quarter of the
 * worker's memory, or 256 MiB if that is not known. At least two of the largest requests. */
size_t resources_max_buffered(const struct options *options);

#endif
