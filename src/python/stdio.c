#include "python/stdio.h"

#include "base/log.h"
#include "base/marks.h"
#include "python/context.h"
#include "python/glue.h"
#include "python/object.h"

#include <pythread.h>

static struct log_request stdio_about(const struct call *call)
{
    return call != NULL ? envelope_about(&call->envelope, &call->transport) : (struct log_request){.id = {NULL, 0}};
}

static PyObject *flushes[2]; /* flush() of both streams as they were at first; NULL: nothing is captured */

/* The call that ends in this thread: what it left in the buffer is flushed. */
static const struct call *ending_call;
static unsigned long ending_thread;

/* mark() of the glue: that of the request that prints. */
static PyObject *stdio_mark(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    PyObject *found = context_find();
    if (found == NULL) {
        return NULL;
    }
    char mark[MARK_SIZE_MAX];
    bool is_ending = ending_thread == PyThread_get_thread_ident();
    struct log_request request = stdio_about(is_ending ? ending_call : context_call(found));
    size_t size = marks_make(&request, mark);
    Py_DECREF(found);
    return PyBytes_FromStringAndSize(mark, (Py_ssize_t)size);
}

static PyMethodDef mark_method = {"mark", stdio_mark, METH_NOARGS, NULL};

void stdio_install(void)
{
    PyObject *names = PyDict_New(); /* lives as long as the classes in it */
    PyObject *builtins = PyImport_ImportModule("builtins");
    if (names == NULL || builtins == NULL || PyDict_SetItemString(names, "__builtins__", builtins) != 0 ||
        (marks_are_pairs() && !object_set_function(names, &mark_method)) ||
        glue_run(glue_stdio, "asya_runtime stdio", names) != 0) {
        PyErr_Clear();
        log_warning(EVENT_RUNTIME_DEGRADED,
                    "printing to a pipe without a reader may raise an exception: sys.stdout stays as it is");
    }
    Py_XDECREF(builtins);
    Py_XDECREF(names);
    for (int i = 0; i < 2 && marks_are_on(); i++) {
        PyObject *stream = PySys_GetObject(i == 0 ? "stdout" : "stderr"); /* borrowed */
        flushes[i] = stream != NULL ? PyObject_GetAttrString(stream, "flush") : NULL;
        PyErr_Clear();
    }
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

void stdio_end_request(const struct call *call)
{
    if (!marks_are_on()) {
        return;
    }
    ending_call = call;
    ending_thread = PyThread_get_thread_ident();
    for (int i = 0; i < 2; i++) { /* not stdio_flush(), which costs twice as much */
        PyObject *done = flushes[i] != NULL ? PyObject_CallFunctionObjArgs(flushes[i], NULL) : NULL;
        Py_XDECREF(done);
    }
    PyErr_Clear();
    ending_thread = 0;
    struct log_request request = stdio_about(call);
    marks_end(&request);
}
