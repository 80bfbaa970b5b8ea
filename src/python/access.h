/* The access log (ASYA_ACCESS_LOG): one record for each request for which the function was called, or whose message was
 * refused in python/. Written like any other record, so it never waits for a reader. Needs the GIL. */
#ifndef ASYA_PYTHON_ACCESS_H
#define ASYA_PYTHON_ACCESS_H

#include "base/options.h"
#include "python/call.h"

/* In a worker. */
void access_install(enum access_log mode);

/* The reply to this call is made. */
void access_note(const struct call *call);

#endif
