#include "python/typed.h"

#include "base/exits.h"
#include "base/log.h"
#include "python/failure.h"
#include "python/glue.h"
#include "python/shape.h"

#include <stdbool.h>

enum { REASON_SIZE = 512 };

/* JSON's own types, which ask for nothing. (As a text, under future annotations, the name may stand for another class.)
 */
static bool typed_is_plain(const PyObject *annotation)
{
    const PyTypeObject *const plain[] = {&PyDict_Type, &PyList_Type,  &PyUnicode_Type,
                                         &PyLong_Type, &PyFloat_Type, Py_TYPE(Py_True)};
    bool found = annotation == Py_None;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        found = found || annotation == (const PyObject *)plain[i];
    }
    return found;
}

/* Whether any parameter's annotation may ask for something: most functions need not be looked at more closely, which
 * saves the import of inspect and typing, some 20 ms of a start. */
static bool typed_may_ask(PyObject *function)
{
    PyObject *inner = shape_unwrap(function);
    PyObject *annotations = PyObject_GetAttrString(inner, "__annotations__");
    /* From 3.14 on they are made here, and one that names what type checkers alone see fails them all. */
    bool asks = annotations == NULL && PyErr_ExceptionMatches(PyExc_AttributeError) == 0;
    PyObject *name;
    PyObject *annotation;
    Py_ssize_t at = 0;
    while (!asks && annotations != NULL && PyDict_Check(annotations) &&
           PyDict_Next(annotations, &at, &name, &annotation) != 0) {
        bool is_return = PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "return") == 0;
        asks = !is_return && !typed_is_plain(annotation);
    }
    PyErr_Clear();
    Py_XDECREF(annotations);
    Py_DECREF(inner);
    return asks;
}

/* Handles the glue's results other than a converter: a str is a warning, a tuple of one refuses the start. */
static int typed_obey(PyObject *said)
{
    char reason[REASON_SIZE];
    bool refused = PyTuple_Check(said);
    (void)failure_text_of(refused ? PyTuple_GetItem(said, 0) : said, reason, sizeof reason);
    if (refused) {
        log_error(EVENT_START_FAILED, "%s", reason);
        return EXIT_NOT_CALLABLE;
    }
    log_warning(EVENT_SETTING_IGNORED, "%s", reason);
    return EXIT_OK;
}

int typed_converter(PyObject *function, PyObject **ret_converter)
{
    *ret_converter = NULL;
    if (!typed_may_ask(function)) {
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
