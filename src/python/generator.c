#include "python/generator.h"

#include "python/active.h"
#include "python/fork.h"
#include "python/object.h"
#include "python/raised.h"
#include "python/yields.h"

/* The next item: new reference, or NULL with an exception, or without at the end. Takes over `value`; NULL throws the
 * exception that is set. */
static PyObject *generator_advance(PyObject *generator, PyObject *value)
{
    PyObject *item;
    if (value == Py_None) {
        Py_DECREF(value);
        return PyIter_Next(generator);
    }
    if (value != NULL) {
        item = PyObject_CallMethod(generator, "send", "(O)", value);
        Py_DECREF(value);
    } else {
        struct raised raised = raised_take();
        item = PyObject_CallMethod(generator, "throw", "(O)", raised.value);
        raised_done(&raised);
    }
    if (item == NULL && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyErr_Clear();
    }
    return item;
}

/* Its `finally` runs. What that raises cannot be sent to anybody, so Python writes it to standard error. */
static void generator_close(PyObject *generator)
{
    PyObject *closed = PyObject_CallMethod(generator, "close", NULL);
    if (closed == NULL) {
        PyErr_WriteUnraisable(generator);
    }
    Py_XDECREF(closed);
}

/* None if the generator has come to its end, else NULL: with an exception, or `*err` (category ERR_NONE if the client
 * is gone). */
static PyObject *generator_drive(struct call *call, PyObject *generator, struct error *err)
{
    PyObject *value = Py_None;
    Py_INCREF(value);
    for (;;) {
        PyObject *item = generator_advance(generator, value);
        fork_end_child();
        if (item == NULL) {
            if (PyErr_Occurred() != NULL) {
                return NULL;
            }
            return object_none();
        }
        value = NULL;
        err->category = ERR_NONE;
        enum taken taken = yields_take(call, item, &value, err);
        Py_DECREF(item);
        if (taken == TAKEN_STOP) {
            PyObject *type;
            PyObject *raised;
            PyObject *traceback;
            PyErr_Fetch(&type, &raised, &traceback);
            if (call->gone) { /* close() tells it; an exception as well would interrupt its `finally` */
                active_told(call);
            }
            generator_close(generator);
            PyErr_Restore(type, raised, traceback);
            return NULL;
        }
    }
}

void generator_run(struct call *call, PyObject *generator)
{
    struct error err = {.category = ERR_NONE};
    PyObject *result = NULL;
    if (yields_begin(call)) {
        result = generator_drive(call, generator, &err);
    } else {
        generator_close(generator);
    }
    Py_DECREF(generator);
    yields_settle(call, result, &err);
}
