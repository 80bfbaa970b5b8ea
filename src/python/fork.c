#include "python/fork.h"

#include "base/forked.h"
#include "base/log.h"
#include "base/text.h"
#include "python/active.h"
#include "python/failure.h"
#include "python/glue.h"
#include "python/object.h"
#include "python/stdio.h"

#include <Python.h>

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORK_TEXT_SIZE = 512 };

static void (*hook_let_go)(struct server *server);
static struct server *serving;
static bool expects_worker;
static bool has_dropped; /* in a child: when it forks as well, the same numbers may already be files of its own */

static PyObject *fork_after_in_child(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    if (!has_dropped && !expects_worker) {
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

void fork_expect_worker(bool expected) { expects_worker = expected; }

/* ---- the template ------------------------------------------------------------------------------------------------ */

static PyObject *names; /* what python/glue/template.py defines */

/* try_fork() of the glue: what is done before a fork and in its parent, as for a worker. The child ends at once.
 * Returns why there was none, or "". */
static PyObject *fork_try(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    stdio_flush(); /* or each child would write it, too */
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    const char *why = pid < 0 ? strerror(errno) : "";
    PyOS_AfterFork_Parent();
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return PyUnicode_FromString(why);
}

/* warn() of the glue. */
static PyObject *fork_warn(PyObject *self, PyObject *what)
{
    (void)self;
    char text[FORK_TEXT_SIZE];
    (void)failure_text_of(what, text, sizeof text);
    log_warning(EVENT_RUNTIME_DEGRADED, "ASYA_PRELOAD: %s", text);
    return object_none();
}

/* Calls what the glue defines. New reference, or NULL with an exception. */
static PyObject *fork_call(const char *name, const char *argument)
{
    PyObject *function = names != NULL ? PyDict_GetItemString(names, name) : NULL;
    PyObject *text = function != NULL && argument != NULL ? PyUnicode_FromString(argument) : NULL;
    PyObject *result = function != NULL ? PyObject_CallFunctionObjArgs(function, text, NULL) : NULL;
    Py_XDECREF(text);
    return result;
}

static void fork_run(const char *name, const char *argument)
{
    PyObject *done = fork_call(name, argument);
    PyErr_Clear();
    Py_XDECREF(done);
}

void fork_prepare(const char *module)
{
    static PyMethodDef method_try = {"try_fork", fork_try, METH_NOARGS, NULL};
    static PyMethodDef method_warn = {"warn", fork_warn, METH_O, NULL};
    names = PyDict_New();
    if (names == NULL || !object_set_function(names, &method_try) || !object_set_function(names, &method_warn) ||
        glue_run(glue_template, "asya_runtime template", names) != 0) {
        Py_CLEAR(names);
    }
    PyErr_Clear();
    fork_run("prepare", module);
}

bool fork_settle(char *text, size_t size)
{
    PyObject *found = fork_call("settle", NULL);
    if (found == NULL || failure_text_of(found, text, size) > 0) {
        if (found == NULL) {
            text_copy(text, size, "it cannot be looked at");
        }
        PyErr_Clear();
        Py_XDECREF(found);
        return false;
    }
    Py_DECREF(found);
    return true;
}

bool fork_is_stale(void)
{
    PyObject *answer = fork_call("is_stale", NULL);
    bool is = answer != NULL && PyObject_IsTrue(answer) == 1;
    PyErr_Clear();
    Py_XDECREF(answer);
    return is;
}

void fork_renew(void) { fork_run("renew", NULL); }

void fork_use_server(struct server *server) { serving = server; }

void fork_end_child(void)
{
    if (forked_is_child()) {
        _exit(0);
    }
}
