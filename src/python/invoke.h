/*
 * Calling the user's function for one message, in whichever thread: main, or one of the pool.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_INVOKE_H
#define ASYA_PYTHON_INVOKE_H

#include "python/call.h"
#include "python/shape.h"

/* Decodes and validates the call's message, calls the function, and settles what it returned. True: the call is through
 * and closed, its reply complete or its stream but for the end of the exchange. False: `*ret_thing` (new reference), a
 * coroutine or an asynchronous generator, is for the loop to run (python/loop.h). */
bool invoke_run(struct call *call, PyObject **ret_thing);

/* What the function has returned, or what it returned has come to: a generator is run to its end, anything else is the
 * result. Takes over `result`; NULL: the exception that is set. */
void invoke_settle(struct call *call, enum shape shape, PyObject *result);

#endif
