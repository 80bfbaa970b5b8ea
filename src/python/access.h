/* The access log: one record for each request that the function was called for, or whose message could not be given to
 * it (ASYA_ACCESS_LOG). Written like any other record, so it waits for nobody. Needs the GIL. */
#ifndef ASYA_PYTHON_ACCESS_H
#define ASYA_PYTHON_ACCESS_H

#include "base/options.h"
#include "python/call.h"

/* In a worker. */
void access_install(enum access_log mode);

/* The reply to this call is made. */
void access_note(const struct call *call);

#endif
