/*
 * Cancelling the user's function from outside: the worker's side of server/cancel.h.
 *
 * CANCEL_SIGNAL's Python-level handler raises an exception in the function, in the main thread, between two bytecodes
 * or out of an interrupted sleep or read; so it can clean up with `finally` and `with`. The exceptions derive from
 * BaseException, as asyncio.CancelledError does, so that an `except Exception` in a retry loop does not swallow them.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_CANCEL_H
#define ASYA_PYTHON_CANCEL_H

#include "server/service.h"

#include <Python.h>

/* Makes the exception classes HandlerTimeout and ClientGone and adds them to `module`. 0, or -1 with an exception. */
int cancel_add_exceptions(PyObject *module);

/* In a worker: installs the signal handlers, and has crashes and STACK_SIGNAL write the Python stacks to `stack`, which
 * stays the caller's. What cannot be installed is logged; the worker serves without it. */
void cancel_install(int stack);

/* Around the function's call. cancel_end says whether, and why, this request was cancelled; 0 if it was not. */
void cancel_begin(const struct request *request);
uint32_t cancel_end(void);

#endif
