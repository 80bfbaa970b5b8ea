#include "python/fork.h"

#include "base/forked.h"
#include "base/log.h"
#include "python/active.h"
#include "python/object.h"

#include <Python.h>

#include <unistd.h>

static void (*hook_let_go)(struct server *server);
static struct server *serving;
static bool has_dropped; /* in a child: when it forks as well, the same numbers may already be files of its own */

static PyObject *fork_after_in_child(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    if (!has_dropped) {
        has_dropped = true;
        active_wake(NULL);
        hook_let_go(serving);
    }
    return object_none();
}

static PyMethodDef method = {"after_in_child", fork_after_in_child, METH_NOARGS, NULL};

void fork_install(void (*let_go)(struct server *server))
{
    hook_let_go = let_go;
    PyObject *os = PyImport_ImportModule("os");
    PyObject *install = os != NULL ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *hook = install != NULL ? PyCFunction_New(&method, NULL) : NULL;
    PyObject *keywords = hook != NULL ? Py_BuildValue("{s:O}", method.ml_name, hook) : NULL;
    PyObject *none = keywords != NULL ? PyTuple_New(0) : NULL;
    PyObject *done = none != NULL ? PyObject_Call(install, none, keywords) : NULL;
    if (done == NULL) {
        PyErr_Clear();
        log_warning(EVENT_RUNTIME_DEGRADED,
                    "children that the function forks keep the runtime's descriptors open: no hook could be set");
    }
    Py_XDECREF(done);
    Py_XDECREF(none);
    Py_XDECREF(keywords);
    Py_XDECREF(hook);
    Py_XDECREF(install);
    Py_XDECREF(os);
}

void fork_use_server(struct server *server) { serving = server; }

void fork_end_child(void)
{
    if (forked_is_child()) {
        _exit(0);
    }
}
