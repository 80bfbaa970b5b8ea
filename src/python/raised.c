#include "python/raised.h"

struct raised raised_take(void)
{
    struct raised raised;
    PyErr_Fetch(&raised.type, &raised.value, &raised.traceback);
    PyErr_NormalizeException(&raised.type, &raised.value, &raised.traceback);
    if (raised.traceback != NULL && raised.value != NULL) {
        (void)PyException_SetTraceback(raised.value, raised.traceback);
    } else if (raised.value != NULL) {
        raised.traceback = PyException_GetTraceback(raised.value); /* raised elsewhere, and handed on */
    }
    return raised;
}

void raised_done(struct raised *raised)
{
    Py_XDECREF(raised->traceback);
    Py_XDECREF(raised->value);
    Py_XDECREF(raised->type);
}

bool raised_is(const struct raised *raised, PyObject *type)
{
    return PyErr_GivenExceptionMatches(raised->type, type) != 0;
}

PyObject *raised_format(const struct raised *raised)
{
    PyObject *value = raised->value != NULL ? raised->value : Py_None;
    PyObject *traceback = raised->traceback != NULL ? raised->traceback : Py_None;
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *lines =
        module != NULL ? PyObject_CallMethod(module, "format_exception", "OOO", raised->type, value, traceback) : NULL;
    PyObject *empty = lines != NULL ? PyUnicode_FromString("") : NULL;
    PyObject *joined = empty != NULL ? PyUnicode_Join(empty, lines) : NULL;
    PyErr_Clear();
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    return joined;
}
