/*
 * What kind of object a function has returned, and how the function is declared (docs/handlers.md). Found from types
 * and flags of the objects, without running the user's code.
 *
 * The returned object decides, so a coroutine function behind a plain wrapper is recognised too. How the function was
 * declared is used only to prepare for it. Needs the GIL; leaves no exception set.
 */
#ifndef ASYA_PYTHON_SHAPE_H
#define ASYA_PYTHON_SHAPE_H

#include <Python.h>

#include <stdbool.h>

enum shape {
    SHAPE_VALUE,
    SHAPE_AWAITABLE,       /* a coroutine, a future, anything with __await__ */
    SHAPE_GENERATOR,       /* of Python's or of Cython's making; other iterators are values */
    SHAPE_ASYNC_GENERATOR, /* likewise */
};

enum shape shape_of(PyObject *returned);

/* Whether a call is declared to give a coroutine or an asynchronous generator: `async def`, a method that is one, an
 * instance whose __call__ is one, or functools.partial of one. */
bool shape_is_async(PyObject *function);

/* The function behind a method, a functools.partial, or an instance with __call__. New reference, maybe to `function`
 * itself. */
PyObject *shape_unwrap(PyObject *function);

#endif
