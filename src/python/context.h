/*
 * asya_runtime.context(): what a function may know of its request without a change of its signature.
 *
 *   id, parent_id   str, "" where there is none
 *   headers, route  the dicts of the message, {} where there are none
 *   traceparent     str, "" where there is none or one that is not valid; with it tracestate
 *   deadline        time.monotonic() at which the function is cancelled, or None
 *   cancelled       whether it is already
 *   ended           whether the function has finished with it
 *
 * The object is made on demand. It may outlive the request: then it keeps the values as they were at the end, and has
 * no reference to the request's memory. Tasks and copies of their contexts, in whatever thread these run, find it in a
 * context variable; plain functions by the thread they run in. Needs the GIL.
 */
#ifndef ASYA_PYTHON_CONTEXT_H
#define ASYA_PYTHON_CONTEXT_H

#include "python/call.h"

/* Adds the function `context` to `module`. 0, or -1 with an exception. */
int context_add(PyObject *module);

/* The object of `call`, made if need be. New reference, or NULL with an exception. */
PyObject *context_of(struct call *call);

/* The call an object of context_of belongs to; NULL once it has ended. */
struct call *context_call(PyObject *object);

/* The object of the request that this thread works on. New reference, None if there is none, or NULL with an
 * exception. */
PyObject *context_find(void);

/* Makes context() work for code that runs in the call's context outside of the function: validators before the call,
 * and afterwards a `logging` handler that reports its exception. Leaves no exception set; if there is no memory,
 * context() returns None there. */
void context_carry(struct call *call);

/* In a worker, before the user's code is imported: contextvars.copy_context() carries the request along from now on.
 * What cannot be installed is logged. */
void context_install(void);

/* Where tasks keep theirs: a ContextVar, borrowed; NULL before context_install(). */
PyObject *context_variable(void);

/* To be told when the call has moved in memory, and when it ends. */
void context_move(struct call *call);
void context_end(struct call *call);

#endif
