#include "app/check.h"

#include "app/flags.h"
#include "app/output.h"
#include "app/resources.h"
#include "app/serve.h"
#include "base/exits.h"
#include "base/log.h"
#include "base/options.h"
#include "base/unknown.h"
#include "python/fork.h"
#include "python/handler.h"
#include "python/lifespan.h"
#include "python/mounts.h"
#include "python/typed.h"

#include <Python.h>

#include <stdbool.h>
#include <stdio.h>

enum { LINE_SIZE = 1024 };

/* Questions that Python's inspect module answers about a function, and our words for the first that is true. */
static const struct {
    const char *question;
    const char *words;
} kinds[] = {
    {"isasyncgenfunction", "an async generator"},
    {"iscoroutinefunction", "an async function"},
    {"isgeneratorfunction", "a generator"},
    {"ismethod", "a method"},
    {"isfunction", "a function"},
};

static const char *check_kind_of(PyObject *inspect, PyObject *function)
{
    for (size_t i = 0; inspect != NULL && i < sizeof kinds / sizeof kinds[0]; i++) {
        PyObject *answer = PyObject_CallMethod(inspect, kinds[i].question, "(O)", function);
        bool fits = answer != NULL && PyObject_IsTrue(answer) == 1;
        Py_XDECREF(answer);
        if (fits) {
            return kinds[i].words;
        }
    }
    return "an object that can be called";
}

/* Prints "NAME is a function: (payload: dict) -> dict". Some callables have no signature that inspect can find. */
static void check_describe(const char *name, PyObject *function, bool is_typed)
{
    PyObject *inspect = PyImport_ImportModule("inspect");
    PyObject *signature = inspect != NULL ? PyObject_CallMethod(inspect, "signature", "(O)", function) : NULL;
    PyErr_Clear();
    PyObject *text = signature != NULL ? PyObject_Str(signature) : NULL;
    PyObject *bytes = text != NULL ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    char *shown = NULL;
    if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &shown, NULL) < 0) {
        shown = NULL;
    }
    char line[LINE_SIZE];
    (void)snprintf(line, sizeof line, "%.512s is %s%s%.256s%s\n", name, check_kind_of(inspect, function),
                   shown != NULL ? ": " : "", shown != NULL ? shown : "",
                   is_typed ? "; payloads are validated by its annotation" : "");
    output_print(line);
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    Py_XDECREF(signature);
    Py_XDECREF(inspect);
}

/* ASYA_PRELOAD: whether workers can be forked from a process that has loaded this. Returns an exit code. */
static int check_preload(const struct options *options, PyObject *function, PyObject *owner)
{
    char reason[LINE_SIZE - 128];
    char line[LINE_SIZE];
    if (!options->preload) {
        return EXIT_OK;
    }
    int code = lifespan_preload(function, owner);
    if (code == EXIT_OK) {
        bool can = fork_settle(reason, sizeof reason);
        (void)snprintf(line, sizeof line,
                       can ? "ASYA_PRELOAD: workers are forked after it was loaded%s\n"
                           : "ASYA_PRELOAD: each worker loads it for itself: %s\n",
                       can ? "" : reason);
        output_print(line);
    }
    return code;
}

int check_run(const char *program, int count, const char *const *arguments)
{
    (void)program;
    struct error err;
    if (!flags_take(count, arguments, true, &err)) {
        log_error(EVENT_COMMAND_FAILED, "check: %s", err.text);
        return EXIT_OPTION;
    }
    struct options options;
    if (!serve_prepare(&options)) {
        return EXIT_OPTION;
    }
    unknown_warn();
    if (options.process_module[0] == '\0') {
        output_print("ASYA_PROCESS_MODULE is not set: every message would be echoed\n");
        return EXIT_OK;
    }
    resources_limit(&options, 0);
    PyObject *function;
    PyObject *owner = NULL;
    int code = mounts_install();
    if (options.preload) {
        fork_prepare(options.process_module);
    }
    if (code == EXIT_OK) {
        code = handler_load(&options, &function, &owner);
    }
    if (code != EXIT_OK) {
        return code;
    }
    PyObject *converter = NULL;
    code = options.typed_payloads ? typed_converter(function, &converter) : EXIT_OK;
    if (code == EXIT_OK) {
        check_describe(options.process_module, function, converter != NULL);
        code = check_preload(&options, function, owner);
    } else if (code < 0) {
        code = handler_fail(EVENT_START_FAILED, "resolving the annotations of", options.process_module);
    }
    Py_XDECREF(converter);
    Py_DECREF(function);
    Py_XDECREF(owner);
    return code;
}
