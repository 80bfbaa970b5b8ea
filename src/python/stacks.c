#include "python/stacks.h"

#include "python/glue.h"

#include <pythread.h>

static int descriptor = -1;
static PyObject *names; /* of the glue; NULL before the first call */

void stacks_use(int pipe) { descriptor = pipe; }

/* Borrowed, or NULL. */
static PyObject *stacks_find(const char *name)
{
    if (names == NULL) {
        names = PyDict_New();
        PyObject *builtins = PyImport_ImportModule("builtins");
        if (names == NULL || builtins == NULL || PyDict_SetItemString(names, "__builtins__", builtins) != 0 ||
            glue_run(glue_stacks, "asya_runtime stacks", names) != 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(builtins);
    }
    return names != NULL ? PyDict_GetItemString(names, name) : NULL;
}

void stacks_write(const struct call *call, PyObject *frame)
{
    PyObject *report = descriptor >= 0 ? stacks_find("report") : NULL;
    PyObject *task = call->runner->task != NULL ? call->runner->task(call) : NULL;
    PyObject *own = call->thread == PyThread_get_thread_ident() ? frame : Py_None;
    PyObject *arguments =
        report != NULL ? Py_BuildValue("(iOkO)", descriptor, task != NULL ? task : Py_None, call->thread, own) : NULL;
    PyObject *done = arguments != NULL ? PyObject_Call(report, arguments, NULL) : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(arguments);
}

void stacks_write_tasks(void)
{
    PyObject *report = descriptor >= 0 ? stacks_find("report_tasks") : NULL;
    PyObject *number = report != NULL ? PyLong_FromLong(descriptor) : NULL;
    PyObject *done = number != NULL ? PyObject_CallFunctionObjArgs(report, number, NULL) : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(number);
}
