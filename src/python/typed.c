#include "python/typed.h"

#include "base/exits.h"
#include "base/log.h"
#include "python/failure.h"
#include "python/glue.h"
#include "python/shape.h"

#include <stdbool.h>

enum { REASON_SIZE = 512 };

/* Whether any parameter is annotated. Most functions have none, and pay nothing. */
static bool typed_is_annotated(PyObject *function)
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

/* What the glue says instead of a converter: a str warns, a tuple of one refuses. */
static int typed_obey(PyObject *said)
{
    char reason[REASON_SIZE];
    bool refused = PyTuple_Check(said);
    (void)failure_text_of(refused ? PyTuple_GetItem(said, 0) : said, reason, sizeof reason);
    if (refused) {
        log_error("%s", reason);
        return EXIT_NOT_CALLABLE;
    }
    log_warning("%s", reason);
    return EXIT_OK;
}

int typed_converter(PyObject *function, PyObject **ret_converter)
{
    *ret_converter = NULL;
    if (!typed_is_annotated(function)) {
        return EXIT_OK;
    }
    PyObject *names = PyDict_New();
    PyObject *inner = shape_unwrap(function);
    PyObject *converter = NULL;
    if (names != NULL && glue_run(glue_readers, "asya_runtime readers", names) == 0 &&
        glue_run(glue_typed, "asya_runtime typed", names) == 0) {
        PyObject *find = PyDict_GetItemString(names, "converter_of");
        converter = find != NULL ? PyObject_CallFunctionObjArgs(find, function, inner, NULL) : NULL;
    }
    Py_DECREF(inner);
    Py_XDECREF(names);
    if (converter == NULL) {
        return -1;
    }
    if (PyCallable_Check(converter)) {
        *ret_converter = converter;
        return EXIT_OK;
    }
    int code = converter != Py_None ? typed_obey(converter) : EXIT_OK;
    Py_DECREF(converter);
    return code;
}
