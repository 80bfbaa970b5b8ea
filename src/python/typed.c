#include "python/typed.h"

#include "base/log.h"
#include "python/failure.h"
#include "python/glue.h"
#include "python/shape.h"

#include <stdbool.h>

enum { REASON_SIZE = 512 };

/* Whether any parameter is annotated: most functions need not be looked at more closely. */
static bool is_annotated(PyObject *function)
{
    PyObject *inner = shape_unwrap(function);
    PyObject *annotations = PyObject_GetAttrString(inner, "__annotations__");
    bool is = false;
    if (annotations != NULL && PyDict_Check(annotations)) {
        is = PyDict_Size(annotations) > (PyDict_GetItemString(annotations, "return") != NULL ? 1 : 0);
    }
    PyErr_Clear();
    Py_XDECREF(annotations);
    Py_DECREF(inner);
    return is;
}

int typed_converter(PyObject *function, PyObject **ret_converter)
{
    *ret_converter = NULL;
    if (!is_annotated(function)) {
        return 0;
    }
    PyObject *names = PyDict_New();
    PyObject *inner = shape_unwrap(function);
    PyObject *converter = NULL;
    if (names != NULL && glue_run(glue_typed, "asya_runtime typed", names) == 0) {
        PyObject *find = PyDict_GetItemString(names, "converter_of");
        converter = find != NULL ? PyObject_CallFunctionObjArgs(find, function, inner, NULL) : NULL;
    }
    Py_DECREF(inner);
    Py_XDECREF(names);
    if (converter != NULL && PyUnicode_Check(converter)) {
        char reason[REASON_SIZE];
        (void)failure_text_of(converter, reason, sizeof reason);
        log_warning("%s", reason);
        Py_CLEAR(converter);
        return 0;
    }
    if (converter == Py_None) {
        Py_CLEAR(converter);
        return 0;
    }
    *ret_converter = converter;
    return converter != NULL ? 0 : -1;
}
