/*
 * Answers the codec's questions about objects that it does not know itself (codec/types.h), with
 * python/glue/results.py.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_RESULTS_H
#define ASYA_PYTHON_RESULTS_H

#include <Python.h>

/* Answers one of the codec's questions: a new reference, or NULL with an exception. The glue runs at the first one. */
PyObject *results_answer(const char *question, PyObject *about);

/* Takes `function.default`, if it has one: what is called with objects that nothing else knows, and gives what to write
 * instead. 0, or -1 with an exception. */
int results_use_default(PyObject *function);

#endif
