/*
 * A SERVER span of OpenTelemetry for each request (docs/recipes.md). It is made by the function's own
 * opentelemetry-api, and only if the function has imported `opentelemetry.trace` by the time its module is loaded and
 * set up: otherwise nothing is imported, and a request costs two comparisons. Its parent is the request's traceparent;
 * in the function's context it is the current span. Errors of the tracing library never affect a reply.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_SPANS_H
#define ASYA_PYTHON_SPANS_H

#include "python/call.h"

/* After the function was loaded. `name`: as the setting has it. */
void spans_install(const char *name);

/* The function is about to be called, in the context of this call. */
void spans_begin(struct call *call);

/* Its failure, call->failure; `error` is the exception (borrowed), or NULL. No exception may be set. */
void spans_fail(const struct call *call, PyObject *error);

/* The call is over. */
void spans_end(struct call *call);

#endif
