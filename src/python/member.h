/*
 * The members of a message that the runtime reads and writes, named by Python strings which are made once.
 *
 * Looking up a C string in a dict (PyDict_GetItemString) makes a str and hashes it each time, which takes 720
 * instructions; with an existing str it takes 120. A message over HTTP needs 17 lookups, and 18,000 instructions for
 * everything else.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_MEMBER_H
#define ASYA_PYTHON_MEMBER_H

#include <Python.h>

#include <stdbool.h>

enum member {
    MEMBER_ACTORS,
    MEMBER_CURR,
    MEMBER_CURRENT,
    MEMBER_DEADLINE_AT,
    MEMBER_HEADERS,
    MEMBER_ID,
    MEMBER_NEXT,
    MEMBER_PARENT_ID,
    MEMBER_PAYLOAD,
    MEMBER_PREV,
    MEMBER_ROUTE,
    MEMBER_STATUS,
    MEMBER_STEPS,
    MEMBER_TRACEPARENT,
    MEMBER_TRACESTATE,
    MEMBERS
};

/* To be called once, before the others. False with an exception. */
bool member_make_names(void);

/* As a str. Borrowed. */
PyObject *member_name(enum member member);

/* Its value in `object`, or NULL if there is none, or `object` is NULL or no dict. Borrowed. */
PyObject *member_of(PyObject *object, enum member member);

/* False with an exception. */
bool member_set(PyObject *dict, enum member member, PyObject *value);

/* Likewise with a value that is taken over. False also if it is NULL: then an exception was set before. */
bool member_set_new(PyObject *dict, enum member member, PyObject *value);

#endif
