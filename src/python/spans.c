#include "python/spans.h"

#include "base/log.h"
#include "python/context.h"
#include "python/failure.h"
#include "python/glue.h"
#include "python/object.h"

static PyObject *begin; /* what python/glue/spans.py defines; NULL: there are no spans */
static PyObject *fail;

/* New reference to the glue's globals, or NULL with an exception. */
static PyObject *spans_run_glue(const char *name)
{
    PyObject *names = PyDict_New();
    if (names != NULL && object_set_new(names, "FUNCTION", PyUnicode_FromString(name)) &&
        object_set_new(names, "VERSION", PyUnicode_FromString(ASYA_VERSION)) &&
        glue_run(glue_spans, "asya_runtime spans", names) == 0) {
        return names;
    }
    Py_XDECREF(names);
    return NULL;
}

void spans_install(const char *name)
{
    if (PyDict_GetItemString(PyImport_GetModuleDict(), "opentelemetry.trace") == NULL) {
        PyErr_Clear();
        return;
    }
    PyObject *names = spans_run_glue(name);
    if (names == NULL) {
        PyErr_Clear();
        log_warning(EVENT_RUNTIME_DEGRADED, "no spans are made: this opentelemetry-api cannot be used");
        return;
    }
    begin = object_own(PyDict_GetItemString(names, "begin"));
    fail = object_own(PyDict_GetItemString(names, "fail"));
    Py_DECREF(names);
}

void spans_begin(struct call *call)
{
    if (begin == NULL) {
        return;
    }
    PyObject *request = context_of(call);
    call->span = request != NULL ? PyObject_CallFunctionObjArgs(begin, request, NULL) : NULL;
    PyErr_Clear();
    Py_XDECREF(request);
}

void spans_fail(const struct call *call, PyObject *error)
{
    const struct failure *failure = call->failure;
    if (call->span == NULL) {
        return;
    }
    const char *kind = failure->name[0] != '\0' ? failure->name : error_code(failure->category);
    PyObject *what = Py_BuildValue("(OssO)", call->span, kind, failure->text, error != NULL ? error : Py_None);
    PyObject *done = what != NULL ? PyObject_Call(fail, what, NULL) : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(what);
}

void spans_end(struct call *call)
{
    if (call->span != NULL) {
        PyObject *done = PyObject_CallMethod(call->span, "end", NULL);
        PyErr_Clear();
        Py_XDECREF(done);
        Py_CLEAR(call->span);
    }
}
