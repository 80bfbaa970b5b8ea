/* Running a generator to its end, in the thread that called the function. Needs the GIL. */
#ifndef ASYA_PYTHON_GENERATOR_H
#define ASYA_PYTHON_GENERATOR_H

#include "python/call.h"

/* Takes over `generator`, which the function returned. The call is settled then: its reply is complete, or its stream
 * (call->streaming) but for the end of the exchange. */
void generator_run(struct call *call, PyObject *generator);

#endif
