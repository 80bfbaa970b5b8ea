/*
 * References, and what is done with objects in more than one file. Needs the GIL.
 */
#ifndef ASYA_PYTHON_OBJECT_H
#define ASYA_PYTHON_OBJECT_H

#include <Python.h>

#include <stdbool.h>

/* One more reference to `object`, which may be NULL. */
static inline PyObject *object_own(PyObject *object)
{
    Py_XINCREF(object);
    return object;
}

static inline PyObject *object_none(void) { return object_own(Py_None); }

/* Puts `value`, which is taken over, under `key`. False with an exception, also if `value` is NULL: then it was set
 * before. */
bool object_set_new(PyObject *dict, const char *key, PyObject *value);

/* Puts a function for `method`, which stays where it is, under its name. False with an exception. */
bool object_set_function(PyObject *dict, PyMethodDef *method);

/* copy.deepcopy(object): new reference, or NULL with an exception. */
PyObject *object_deep_copy(PyObject *object);

#endif
