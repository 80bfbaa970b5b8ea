/*
 * An exception taken from the interpreter, for inspection. Needs the GIL.
 */
#ifndef ASYA_PYTHON_RAISED_H
#define ASYA_PYTHON_RAISED_H

#include <Python.h>

#include <stdbool.h>

/* All owned; value and traceback may be NULL. */
struct raised {
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
};

/* Clears the exception that is set, which is made an instance that knows its traceback. That begins with the first
 * frame that is not the runtime's own: it is NULL where there is none. */
struct raised raised_take(void);

void raised_done(struct raised *raised);

bool raised_is(const struct raised *raised, PyObject *type);

/* A traceback as Python prints it: new reference to a str, or NULL where it cannot be had. Leaves no exception set. */
PyObject *raised_format(const struct raised *raised);

#endif
