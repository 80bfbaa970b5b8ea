#include "python/stdio.h"

#include "base/log.h"
#include "python/glue.h"

void stdio_install(void)
{
    PyObject *names = PyDict_New(); /* lives as long as the classes in it */
    PyObject *builtins = PyImport_ImportModule("builtins");
    if (names == NULL || builtins == NULL || PyDict_SetItemString(names, "__builtins__", builtins) != 0 ||
        glue_run(glue_stdio, "asya_runtime stdio", names) != 0) {
        PyErr_Clear();
        log_warning(EVENT_RUNTIME_DEGRADED,
                    "what the function prints to a pipe nobody reads may fail it: sys.stdout stays as it is");
    }
    Py_XDECREF(builtins);
    Py_XDECREF(names);
}

static void stdio_flush_one(const char *stream)
{
    PyObject *object = PySys_GetObject(stream); /* borrowed */
    if (object != NULL && object != Py_None) {
        PyObject *result = PyObject_CallMethod(object, "flush", NULL);
        Py_XDECREF(result);
    }
    PyErr_Clear();
}

void stdio_flush(void)
{
    stdio_flush_one("stdout");
    stdio_flush_one("stderr");
}
