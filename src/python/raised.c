#include "python/raised.h"

/* What glue_run gives as the file's name of the runtime's own Python. */
static const char own_file[] = "asya_runtime ";

/* Whether this part of a traceback is of the runtime's own Python. */
static bool raised_is_own(PyObject *traceback)
{
    PyObject *frame = PyObject_GetAttrString(traceback, "tb_frame");
    PyObject *code = frame != NULL ? PyObject_GetAttrString(frame, "f_code") : NULL;
    PyObject *file = code != NULL ? PyObject_GetAttrString(code, "co_filename") : NULL;
    PyObject *head = file != NULL ? PyUnicode_Substring(file, 0, (Py_ssize_t)sizeof own_file - 1) : NULL;
    bool own = head != NULL && PyUnicode_CompareWithASCIIString(head, own_file) == 0;
    PyErr_Clear();
    Py_XDECREF(head);
    Py_XDECREF(file);
    Py_XDECREF(code);
    Py_XDECREF(frame);
    return own;
}

/* The traceback begins where the function does: what the runtime has called it from helps nobody, and would be shown
 * for some functions (async ones, those with a typed payload) and not for others. */
static void raised_drop_own(struct raised *raised)
{
    while (raised->traceback != NULL && raised_is_own(raised->traceback)) {
        PyObject *next = PyObject_GetAttrString(raised->traceback, "tb_next");
        PyErr_Clear();
        Py_DECREF(raised->traceback);
        raised->traceback = next;
        if (next == Py_None) {
            Py_DECREF(next);
            raised->traceback = NULL;
        }
    }
}

struct raised raised_take(void)
{
    struct raised raised;
    PyErr_Fetch(&raised.type, &raised.value, &raised.traceback);
    PyErr_NormalizeException(&raised.type, &raised.value, &raised.traceback);
    if (raised.traceback == NULL && raised.value != NULL) {
        raised.traceback = PyException_GetTraceback(raised.value); /* raised elsewhere, and handed on */
    }
    raised_drop_own(&raised);
    if (raised.value != NULL) {
        (void)PyException_SetTraceback(raised.value, raised.traceback != NULL ? raised.traceback : Py_None);
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
