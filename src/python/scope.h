/*
 * Contexts (contextvars): every call runs in a copy of the context at the end of the set-up, from the conversion of its
 * payload to the writing of its result, including all steps of a generator. So no message sees what another one has
 * set, such as a ContextVar or the precision of decimal. Threads of the pool begin with the same as the main thread.
 * Tasks copy the context they are started in, which is that of their call.
 *
 * A copy is one small object; with the call of a function in it it takes 0.1 us (CPython 3.11). Needs the GIL.
 */
#ifndef ASYA_PYTHON_SCOPE_H
#define ASYA_PYTHON_SCOPE_H

#include <Python.h>

#include <stdbool.h>

typedef void scope_work(void *argument);

/* Where one thread runs its calls. */
struct scope {
    PyObject *step; /* owned: what Context.run() calls */
    scope_work *work;
    void *argument;
};

/* After set-up, in the main thread. 0, or -1 with an exception. */
int scope_begin(void);

/* 0, or -1 with an exception. The scope must not move. */
int scope_open(struct scope *scope);

/* Runs `work` once, in a fresh context. New reference to that, or NULL, without an exception, if there was no memory
 * for one: then it ran in the thread's own. */
PyObject *scope_run(struct scope *scope, scope_work *work, void *argument);

/* The same in a context of scope_run(); NULL: the thread's own. */
void scope_run_in(struct scope *scope, PyObject *context, scope_work *work, void *argument);

#endif
