/*
 * The route of a message through the actors, in the three forms of released Asya versions (docs/protocol.md):
 *
 *   actors  {"actors":["a","b"],"current":0}      the runtime advances `current`
 *   steps   {"steps":["a","b"],"current":0}       before v0.1.0: returned as it came
 *   hops    {"prev":["a"],"curr":"b","next":[]}   HTTP: the runtime moves curr to prev
 *
 * Needs the GIL. "New reference" and -1 or NULL with a Python exception as usual.
 */
#ifndef ASYA_PYTHON_ROUTE_H
#define ASYA_PYTHON_ROUTE_H

#include <Python.h>

enum route_form { ROUTE_NONE, ROUTE_ACTORS, ROUTE_STEPS, ROUTE_HOPS };

/* Which of the first two forms a framed message means; ROUTE_ACTORS where it cannot be told. */
enum route_form route_form_of(PyObject *route);

/* 0, or -1 with the ValueError that the protocol demands. Puts `current` = 0 into a route of actors that has none. */
int route_check(PyObject *route, enum route_form form);

/* The route behind this actor. `next` replaces the names to come (borrowed; NULL: those of `route`). New reference. */
PyObject *route_advance(PyObject *route, enum route_form form, PyObject *next);

/* Whole messages over HTTP: the route behind this actor if `route` still has the names in `passed` and `current`, the
 * present one; NULL if the function has made another of it, or with an exception. New reference. */
PyObject *route_advance_from(PyObject *route, PyObject *passed, PyObject *current);

/* A list of the names that the function may not change: up to and with the current one, of hops those before it. New
 * reference. */
PyObject *route_passed(PyObject *route, enum route_form form);

/* 0 if `route` (checked) still begins with `passed`, or -1 with the ValueError that the protocol demands. */
int route_check_passed(PyObject *route, enum route_form form, PyObject *passed, PyObject *current);

/* {"prev":[],"curr":"","next":[]} for any form, of fresh lists. New reference. */
PyObject *route_hops(PyObject *route, enum route_form form);

#endif
