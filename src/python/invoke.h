/*
 * Calling the user's function for one message, in the main thread or in one of the pool.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_INVOKE_H
#define ASYA_PYTHON_INVOKE_H

#include "python/call.h"
#include "python/shape.h"

/* Decodes and validates the call's message, calls the function, and turns what it returned into the reply. True: the
 * call is closed, and its reply is complete; of a stream only the end of the exchange is missing. False: the
 * function has returned a coroutine or an asynchronous generator, `*ret_thing` (new reference), which the loop has
 * to run (python/loop.h). */
bool invoke_run(struct call *call, PyObject **ret_thing);

/* The end of invoke_run, and of a coroutine: a generator is run to its end, anything else is the result. Takes over
 * `result`; NULL: the exception that is set. */
void invoke_settle(struct call *call, enum shape shape, PyObject *result);

#endif
