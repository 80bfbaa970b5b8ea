/*
 * The function's own health check (docs/handlers.md): an attribute `healthcheck` of the function, or a method of the
 * object it belongs to. Called without arguments, in the worker, between two requests, every ASYA_HEALTHCHECK_INTERVAL.
 * It fails if it raises an exception or returns a false value other than None; the supervisor notices one that takes
 * too long. The result is on the scoreboard.
 *
 * Needs the GIL, but for health_tend().
 */
#ifndef ASYA_PYTHON_HEALTH_H
#define ASYA_PYTHON_HEALTH_H

#include "python/call.h"

/* Looks for a health check. `owner` (borrowed, may be NULL) is the instance the function belongs to. */
void health_begin(struct binding *binding, PyObject *owner, uint64_t interval);

bool health_is_wanted(void);

/* Calls it if that is due. Returns when it is due next. `context` is the binding (struct service passes it). */
uint64_t health_tend(void *context, uint64_t now);

void health_end(void);

#endif
