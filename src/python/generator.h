/* Running a generator to its end, in the thread that called the function. Needs the GIL. */
#ifndef ASYA_PYTHON_GENERATOR_H
#define ASYA_PYTHON_GENERATOR_H

#include "python/call.h"

/* Takes over `generator`, which the function returned. Afterwards the reply is complete; of a stream
 * (call->streaming) only the end of the exchange is missing. */
void generator_run(struct call *call, PyObject *generator);

#endif
