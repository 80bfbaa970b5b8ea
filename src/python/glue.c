#include "python/glue.h"

int glue_run(const char *source, const char *title, PyObject *names)
{
    PyObject *builtins = PyImport_ImportModule("builtins");
    PyObject *code = builtins != NULL ? PyObject_CallMethod(builtins, "compile", "sss", source, title, "exec") : NULL;
    PyObject *done = code != NULL ? PyObject_CallMethod(builtins, "exec", "OO", code, names) : NULL;
    int status = done != NULL ? 0 : -1;
    Py_XDECREF(done);
    Py_XDECREF(code);
    Py_XDECREF(builtins);
    return status;
}
