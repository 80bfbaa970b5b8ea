#include "python/route.h"

#include "python/member.h"
#include "python/object.h"

#include <stdbool.h>

/* The member of `route` that lists the names. */
static enum member route_list(enum route_form form)
{
    return form == ROUTE_STEPS ? MEMBER_STEPS : form == ROUTE_HOPS ? MEMBER_PREV : MEMBER_ACTORS;
}

enum route_form route_form_of(PyObject *route)
{
    bool steps = member_of(route, MEMBER_STEPS) != NULL && member_of(route, MEMBER_ACTORS) == NULL;
    return steps ? ROUTE_STEPS : ROUTE_ACTORS;
}

static int route_refuse(PyObject *message)
{
    if (message != NULL) {
        PyErr_SetObject(PyExc_ValueError, message);
        Py_DECREF(message);
    }
    return -1;
}

static int route_check_hops(PyObject *route)
{
    static const struct {
        enum member member;
        bool list;
    } fields[] = {{MEMBER_PREV, true}, {MEMBER_CURR, false}, {MEMBER_NEXT, true}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        PyObject *name = member_name(fields[i].member);
        PyObject *value = member_of(route, fields[i].member);
        if (value == NULL) {
            return route_refuse(PyUnicode_FromFormat("Missing required field '%U' in route", name));
        }
        if (fields[i].list ? !PyList_Check(value) : !PyUnicode_Check(value)) {
            return route_refuse(
                PyUnicode_FromFormat("Field 'route.%U' must be a %s", name, fields[i].list ? "list" : "string"));
        }
    }
    return 0;
}

/* The position of a list with `length` names. */
static int route_check_current(PyObject *current, enum route_form form, Py_ssize_t length)
{
    if (!PyLong_Check(current)) {
        return route_refuse(PyUnicode_FromString("Field 'route.current' must be an integer"));
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(current, &overflow);
    Py_ssize_t last = form == ROUTE_ACTORS ? length : length - 1; /* actors: equal to the length at the end */
    if (overflow != 0 || value < 0 || value > last) {
        return route_refuse(PyUnicode_FromFormat("Invalid route.current=%S: out of bounds for %U of length %zd",
                                                 current, member_name(route_list(form)), length));
    }
    return 0;
}

static int route_check_list(PyObject *route, enum route_form form)
{
    PyObject *name = member_name(route_list(form));
    PyObject *names = member_of(route, route_list(form));
    if (names == NULL) {
        return route_refuse(PyUnicode_FromFormat("Missing required field '%U' in route", name));
    }
    if (!PyList_Check(names)) {
        return route_refuse(PyUnicode_FromFormat("Field 'route.%U' must be a list", name));
    }
    if (PyList_Size(names) == 0) {
        return route_refuse(PyUnicode_FromFormat("Field 'route.%U' cannot be empty", name));
    }
    PyObject *current = member_of(route, MEMBER_CURRENT);
    if (current == NULL && form == ROUTE_STEPS) {
        return route_refuse(PyUnicode_FromString("Missing required field 'current' in route"));
    }
    if (current == NULL) {
        return member_set_new(route, MEMBER_CURRENT, PyLong_FromLong(0)) ? 0 : -1;
    }
    return route_check_current(current, form, PyList_Size(names));
}

int route_check(PyObject *route, enum route_form form)
{
    if (!PyDict_Check(route)) {
        return route_refuse(PyUnicode_FromString("Field 'route' must be a dict"));
    }
    return form == ROUTE_HOPS ? route_check_hops(route) : route_check_list(route, form);
}

/* The position, 0 where there is none that can be used: a route that was not checked. */
static Py_ssize_t route_current_of(PyObject *route)
{
    PyObject *current = member_of(route, MEMBER_CURRENT);
    int overflow = 0;
    long long value = current != NULL && PyLong_Check(current) ? PyLong_AsLongLongAndOverflow(current, &overflow) : 0;
    return overflow == 0 && value >= 0 ? (Py_ssize_t)value : 0;
}

/* The part of a list as a new list; an empty one where `list` is none. */
static PyObject *route_slice_of(PyObject *list, Py_ssize_t from, Py_ssize_t to)
{
    return list != NULL && PyList_Check(list) ? PyList_GetSlice(list, from, to) : PyList_New(0);
}

static PyObject *route_advance_hops(PyObject *route, PyObject *next)
{
    PyObject *advanced = PyDict_New();
    PyObject *prev = route_slice_of(member_of(route, MEMBER_PREV), 0, PY_SSIZE_T_MAX);
    PyObject *curr = member_of(route, MEMBER_CURR);
    next = next != NULL ? next : member_of(route, MEMBER_NEXT);
    bool more = next != NULL && PyList_Check(next) && PyList_Size(next) > 0;
    bool done = advanced != NULL && prev != NULL && (curr == NULL || PyList_Append(prev, curr) == 0) &&
                member_set(advanced, MEMBER_PREV, prev);
    PyObject *first = more ? PyList_GetItem(next, 0) : NULL;
    Py_XINCREF(first);
    done = done && member_set_new(advanced, MEMBER_CURR, first != NULL ? first : PyUnicode_FromString("")) &&
           member_set_new(advanced, MEMBER_NEXT, route_slice_of(next, 1, PY_SSIZE_T_MAX));
    Py_XDECREF(prev);
    if (!done) {
        Py_CLEAR(advanced);
    }
    return advanced;
}

/* The names up to the current one, and those of `next` behind them. */
static PyObject *route_splice(PyObject *names, Py_ssize_t current, PyObject *next)
{
    PyObject *spliced = route_slice_of(names, 0, current + 1);
    if (spliced != NULL && PyList_SetSlice(spliced, PyList_Size(spliced), PyList_Size(spliced), next) != 0) {
        Py_CLEAR(spliced);
    }
    return spliced;
}

static PyObject *route_advance_list(PyObject *route, PyObject *next)
{
    PyObject *advanced = PyDict_Copy(route);
    Py_ssize_t current = route_current_of(route);
    bool done = advanced != NULL && member_set_new(advanced, MEMBER_CURRENT, PyLong_FromSsize_t(current + 1));
    if (done && next != NULL) {
        done = member_set_new(advanced, MEMBER_ACTORS, route_splice(member_of(route, MEMBER_ACTORS), current, next));
    }
    if (!done) {
        Py_CLEAR(advanced);
    }
    return advanced;
}

PyObject *route_advance(PyObject *route, enum route_form form, PyObject *next)
{
    if (!PyDict_Check(route) || form == ROUTE_STEPS) { /* without validation it may be anything */
        return object_own(route);
    }
    return form == ROUTE_HOPS ? route_advance_hops(route, next) : route_advance_list(route, next);
}

PyObject *route_advance_from(PyObject *route, PyObject *passed, PyObject *current)
{
    PyObject *prev = member_of(route, MEMBER_PREV);
    PyObject *curr = prev != NULL ? member_of(route, MEMBER_CURR) : NULL;
    int same = curr != NULL ? PyObject_RichCompareBool(prev, passed, Py_EQ) : 0;
    if (same == 1) {
        same = PyObject_RichCompareBool(curr, current, Py_EQ);
    }
    return same == 1 ? route_advance_hops(route, NULL) : NULL;
}

PyObject *route_passed(PyObject *route, enum route_form form)
{
    Py_ssize_t end = form == ROUTE_HOPS ? PY_SSIZE_T_MAX : PyDict_Check(route) ? route_current_of(route) + 1 : 0;
    return route_slice_of(member_of(route, route_list(form)), 0, end);
}

int route_check_passed(PyObject *route, enum route_form form, PyObject *passed, PyObject *current)
{
    const char *name = form == ROUTE_STEPS ? "steps" : "actors";
    PyObject *begin = route_slice_of(member_of(route, route_list(form)), 0, PyList_Size(passed));
    int equal = begin != NULL ? PyObject_RichCompareBool(begin, passed, Py_EQ) : -1;
    if (equal == 0) {
        (void)route_refuse(PyUnicode_FromFormat(
            "Route modification error: already-processed %s cannot be erased. Input route had %S (%s 0-%S), but output "
            "route starts with %S. Runtimes can add future %s but must preserve all %s up to current.",
            name, passed, name, current, begin, name, name));
    }
    Py_XDECREF(begin);
    return equal == 1 ? 0 : -1;
}

PyObject *route_hops(PyObject *route, enum route_form form)
{
    PyObject *hops = PyDict_New();
    PyObject *names = NULL;
    PyObject *curr = NULL;
    Py_ssize_t current = -1;
    if (form == ROUTE_HOPS && PyDict_Check(route)) {
        curr = member_of(route, MEMBER_CURR);
    } else if (form != ROUTE_NONE && PyDict_Check(route)) {
        names = member_of(route, route_list(form));
        current = route_current_of(route);
        curr = names != NULL && PyList_Check(names) && current < PyList_Size(names) ? PyList_GetItem(names, current)
                                                                                    : NULL;
    }
    Py_XINCREF(curr);
    bool whole = form == ROUTE_HOPS && PyDict_Check(route);
    PyObject *prev = whole ? member_of(route, MEMBER_PREV) : names;
    PyObject *next = whole ? member_of(route, MEMBER_NEXT) : names;
    if (hops == NULL || !member_set_new(hops, MEMBER_PREV, route_slice_of(prev, 0, whole ? PY_SSIZE_T_MAX : current)) ||
        !member_set_new(hops, MEMBER_CURR, curr != NULL ? curr : PyUnicode_FromString("")) ||
        !member_set_new(hops, MEMBER_NEXT, route_slice_of(next, whole ? 0 : current + 1, PY_SSIZE_T_MAX))) {
        Py_CLEAR(hops);
    }
    return hops;
}
