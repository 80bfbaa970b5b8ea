#include "python/raised.h"

/* How the names of files begin that are not of the user's code: what glue_run gives to the runtime's own Python, and
 * the import of the module. */
static const char *const other_files[] = {"asya_runtime ", "<frozen importlib._bootstrap"};

/* Whether `name`, a str, begins with `text`. */
static bool raised_begins(PyObject *name, const char *text)
{
    PyObject *head = PyUnicode_Substring(name, 0, (Py_ssize_t)strlen(text));
    bool begins = head != NULL && PyUnicode_CompareWithASCIIString(head, text) == 0;
    PyErr_Clear();
    Py_XDECREF(head);
    return begins;
}

/* Whether this part of a traceback is not of the user's code. */
static bool raised_is_others(PyObject *traceback)
{
    PyObject *frame = PyObject_GetAttrString(traceback, "tb_frame");
    PyObject *code = frame != NULL ? PyObject_GetAttrString(frame, "f_code") : NULL;
    PyObject *file = code != NULL ? PyObject_GetAttrString(code, "co_filename") : NULL;
    bool others = file != NULL && (raised_begins(file, other_files[0]) || raised_begins(file, other_files[1]));
    PyErr_Clear();
    Py_XDECREF(file);
    Py_XDECREF(code);
    Py_XDECREF(frame);
    return others;
}

/* The traceback begins in the user's code: frames of the runtime's own Python code do not help, and only some functions
 * have them (async ones, those with a typed payload). */
static void raised_drop_others(struct raised *raised)
{
    while (raised->traceback != NULL && raised_is_others(raised->traceback)) {
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
    raised_drop_others(&raised);
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
