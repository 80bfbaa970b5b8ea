/*
 * fly_text() and fly_status(): what a generator of an Asya function sends upstream, `yield "FLY", fly_text("a")`, in
 * the shape that Asya's gateway understands (docs/handlers.md).
 */
#ifndef ASYA_PYTHON_FLY_H
#define ASYA_PYTHON_FLY_H

#include <Python.h>

/* Adds both functions to the module. Returns 0, or -1 with an exception. Needs the GIL. */
int fly_add(PyObject *module);

#endif
