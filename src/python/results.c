#include "python/results.h"

#include "python/glue.h"

static PyObject *names; /* what python/glue/results.py defines, once it has run */

/* Borrowed, or NULL with an exception. */
static PyObject *results_names(void)
{
    if (names != NULL) {
        return names;
    }
    PyObject *made = PyDict_New();
    if (made == NULL || glue_run(glue_results, "asya_runtime results", made) != 0) {
        Py_XDECREF(made);
        return NULL;
    }
    if (names == NULL) { /* not run by what it has run */
        names = made;
    } else {
        Py_DECREF(made);
    }
    return names;
}

PyObject *results_answer(const char *question, PyObject *about)
{
    PyObject *known = results_names();
    PyObject *function = known != NULL ? PyMapping_GetItemString(known, question) : NULL;
    PyObject *answer = function != NULL ? PyObject_CallFunctionObjArgs(function, about, NULL) : NULL;
    Py_XDECREF(function);
    return answer;
}

int results_use_default(PyObject *function)
{
    PyObject *hook = PyObject_GetAttrString(function, "default");
    int status = 0;
    PyErr_Clear();
    if (hook != NULL && PyCallable_Check(hook)) {
        PyObject *known = results_names();
        status = known != NULL ? PyDict_SetItemString(known, "default", hook) : -1;
    }
    Py_XDECREF(hook);
    return status;
}
