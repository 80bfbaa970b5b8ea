#include "python/object.h"

bool object_set_new(PyObject *dict, const char *key, PyObject *value)
{
    bool done = value != NULL && PyDict_SetItemString(dict, key, value) == 0;
    Py_XDECREF(value);
    return done;
}

bool object_set_function(PyObject *dict, PyMethodDef *method)
{
    return object_set_new(dict, method->ml_name, PyCFunction_New(method, NULL));
}

PyObject *object_deep_copy(PyObject *object)
{
    PyObject *module = PyImport_ImportModule("copy");
    /* "(O)": a tuple given as "O" would be taken for all the arguments. */
    PyObject *copy = module != NULL ? PyObject_CallMethod(module, "deepcopy", "(O)", object) : NULL;
    Py_XDECREF(module);
    return copy;
}
