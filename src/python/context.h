/*
 * asya_runtime.context(): what a function may know of its request without a change of its signature.
 *
 *   id, parent_id   str, "" where there is none
 *   headers, route  the dicts of the message, {} where there are none
 *   traceparent     str, "" where there is none
 *   deadline        time.monotonic() at which the function is cancelled, or None
 *   cancelled       whether it is already
 *
 * The object is made when it is asked for; it may outlive the request. Tasks find it in a context variable, so the
 * tasks they start find it as well; plain functions by the thread they run in. Needs the GIL.
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

/* Tells where tasks keep theirs: a ContextVar, borrowed for ever. */
void context_use_variable(PyObject *variable);

/* To be told when the call has moved in memory, and when it ends. */
void context_move(struct call *call);
void context_end(struct call *call);

#endif
