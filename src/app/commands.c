#include "app/commands.h"

#include "app/serve.h"
#include "base/exits.h"
#include "base/log.h"
#include "base/options.h"
#include "python/handler.h"
#include "python/object.h"
#include "server/load.h"
#include "json/scan.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static PyObject *commands_module; /* the extension: borrowed for ever */

/* ---- what the commands call -------------------------------------------------------------------------------------- */

static PyObject *commands_options(PyObject *self, PyObject *nothing)
{
    (void)self;
    (void)nothing;
    struct option_row row;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && options_row(i, &row); i++) {
        PyObject *item =
            Py_BuildValue("szssi", row.name, getenv(row.name), row.fallback, row.help, row.is_switch ? 1 : 0);
        if (item == NULL || PyList_Append(list, item) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *commands_refusal(PyObject *self, PyObject *nothing)
{
    (void)self;
    (void)nothing;
    static struct options options;
    struct error err;
    bool usable =
        options_load(&options, &err) && (options.process_module[0] == '\0' || handler_check_name(&options, &err));
    return PyUnicode_FromString(usable ? "" : err.text);
}

static PyObject *commands_serve_foreground(PyObject *self, PyObject *pair)
{
    (void)self;
    PyObject *listener = PySequence_GetItem(pair, 0);
    PyObject *control = listener != NULL ? PySequence_GetItem(pair, 1) : NULL;
    long numbers[] = {listener != NULL ? PyLong_AsLong(listener) : -1, control != NULL ? PyLong_AsLong(control) : -1};
    Py_XDECREF(listener);
    Py_XDECREF(control);
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    return PyLong_FromLong(serve_foreground((int)numbers[0], (int)numbers[1]));
}

static PyObject *commands_single_value(PyObject *self, PyObject *data)
{
    (void)self;
    char *text;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &text, &size) < 0) {
        return NULL;
    }
    struct scan scan = scan_make();
    size_t end = (size_t)size;
    enum scan_step step = scan_feed(&scan, (const unsigned char *)text, (size_t)size, &end);
    bool single = step == SCAN_DONE || (step == SCAN_MORE && scan_is_number(&scan));
    for (; single && end < (size_t)size; end++) {
        single = text[end] == ' ' || text[end] == '\t' || text[end] == '\r' || text[end] == '\n';
    }
    PyObject *answer = single ? Py_True : Py_False;
    Py_INCREF(answer);
    return answer;
}

static PyObject *commands_end_with_parent(PyObject *self, PyObject *parent)
{
    (void)self;
    long expected = PyLong_AsLong(parent);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != expected) {
        _exit(EXIT_FAILED); /* it has ended already */
    }
    return object_none();
}

/* Whether the load goes on: the command has a say, and Ctrl-C. */
static bool commands_load_goes_on(void *check)
{
    PyObject *answer = PyErr_CheckSignals() == 0 ? PyObject_CallFunctionObjArgs(check, NULL) : NULL;
    bool goes_on = answer != NULL && PyObject_IsTrue(answer) == 1;
    Py_XDECREF(answer);
    return goes_on;
}

static PyObject *commands_load(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct load_plan plan = {.check = commands_load_goes_on};
    PyObject *request;
    PyObject *prefix;
    PyObject *check;
    int at, is_bad, half_close, keeps, clients;
    long long interval, span, requests, timeout;
    char *text;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(arguments, "yOOiiiiiLLLLO", &plan.path, &request, &prefix, &at, &is_bad, &half_close, &keeps,
                          &clients, &interval, &span, &requests, &timeout, &check) ||
        PyBytes_AsStringAndSize(request, &text, &size) != 0) {
        return NULL;
    }
    plan.request = (struct view){text, (size_t)size};
    if (PyBytes_AsStringAndSize(prefix, &text, &size) != 0) {
        return NULL;
    }
    plan.prefix = (struct view){text, (size_t)size};
    plan.prefix_at = (size_t)at;
    plan.prefix_is_bad = is_bad != 0;
    plan.half_close = half_close != 0;
    plan.keeps = keeps != 0;
    plan.clients = (uint32_t)clients;
    plan.interval = (uint64_t)interval;
    plan.span = (uint64_t)span;
    plan.requests = (uint64_t)requests;
    plan.timeout = (uint64_t)timeout;
    plan.context = check;
    static struct load_tally tally;
    memset(&tally, 0, sizeof tally);
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* nanosecond: requests of the open loop begin when they are due */
    int status = load_run(&plan, &tally);
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    return status < 0 ? PyLong_FromLong(status) : PyBytes_FromStringAndSize((const char *)&tally, sizeof tally);
}

static PyMethodDef commands_methods[] = {
    {"_options", commands_options, METH_NOARGS, NULL},
    {"_refusal", commands_refusal, METH_NOARGS, NULL},
    {"_serve_foreground", commands_serve_foreground, METH_O, NULL},
    {"_single_value", commands_single_value, METH_O, NULL},
    {"_end_with_parent", commands_end_with_parent, METH_O, NULL},
    {"_load", commands_load, METH_VARARGS, NULL},
};

int commands_add(PyObject *module)
{
    commands_module = module;
    for (size_t i = 0; i < sizeof commands_methods / sizeof commands_methods[0]; i++) {
        if (!object_set_function(PyModule_GetDict(module), &commands_methods[i])) {
            return -1;
        }
    }
    return 0;
}

/* ---- calling one --------------------------------------------------------------------------------------------------
 */

static PyObject *commands_list(int count, const char *const *arguments)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < count; i++) {
        PyObject *text = PyUnicode_DecodeUTF8(arguments[i], (Py_ssize_t)strlen(arguments[i]), "surrogateescape");
        if (text == NULL || PyList_Append(list, text) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(text);
    }
    return list;
}

int commands_run(const char *name, const char *program, int count, const char *const *arguments)
{
    PyObject *list = commands_list(count, arguments);
    PyObject *package = list != NULL ? PyObject_CallMethod(commands_module, "_commands", NULL) : NULL;
    PyObject *code =
        package != NULL ? PyObject_CallMethod(package, "main", "OssO", commands_module, name, program, list) : NULL;
    long number = code != NULL ? PyLong_AsLong(code) : -1;
    Py_XDECREF(code);
    Py_XDECREF(package);
    Py_XDECREF(list);
    return (int)number;
}
