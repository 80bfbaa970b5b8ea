#include "python/lifespan.h"

#include "base/exits.h"
#include "base/text.h"
#include "python/glue.h"
#include "python/handler.h"
#include "python/loop.h"
#include "python/shape.h"

static bool lifespan_has(PyObject *object, const char *name)
{
    PyObject *found = PyObject_GetAttrString(object, name);
    bool callable = found != NULL && PyCallable_Check(found);
    PyErr_Clear();
    Py_XDECREF(found);
    return callable;
}

/* Runs what a call has returned, if that can be awaited; without `binding` it must not be. Takes over `result`. */
static PyObject *lifespan_await(struct binding *binding, PyObject *result)
{
    if (result != NULL && shape_of(result) == SHAPE_AWAITABLE && binding == NULL) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_TypeError, "it is async, and the event loop is each worker's own: use after_fork()");
        return NULL;
    }
    if (result != NULL && shape_of(result) == SHAPE_AWAITABLE) {
        PyObject *settled = loop_settle(binding, result);
        Py_DECREF(result);
        return settled;
    }
    return result;
}

/* Calls a method without arguments, or those of __exit__ without an exception. False with the exception set. */
static bool lifespan_call(struct binding *binding, PyObject *object, const char *name, bool exits)
{
    PyObject *result = exits ? PyObject_CallMethod(object, name, "OOO", Py_None, Py_None, Py_None)
                             : PyObject_CallMethod(object, name, NULL);
    result = lifespan_await(binding, result);
    Py_XDECREF(result);
    return result != NULL;
}

/* Calls the function's method of this name, or else its instance's, if there is one. Returns as lifespan_begin(). */
static int lifespan_call_either(struct binding *binding, PyObject *function, PyObject *owner, const char *name)
{
    PyObject *object = function != NULL && lifespan_has(function, name) ? function
                       : owner != NULL && lifespan_has(owner, name)     ? owner
                                                                        : NULL;
    bool done = object == NULL || lifespan_call(binding, object, name, false);
    return done ? EXIT_OK : handler_fail(EVENT_START_FAILED, "calling", name);
}

int lifespan_preload(PyObject *function, PyObject *owner)
{
    return lifespan_call_either(NULL, function, owner, "preload");
}

int lifespan_begin(struct binding *binding, PyObject *owner)
{
    const char *enter = owner == NULL                       ? NULL
                        : lifespan_has(owner, "__enter__")  ? "__enter__"
                        : lifespan_has(owner, "__aenter__") ? "__aenter__"
                                                            : NULL;
    int code = lifespan_call_either(binding, binding->function, owner, "after_fork");
    if (code != EXIT_OK) {
        return code;
    }
    if (enter != NULL && !lifespan_call(binding, owner, enter, false)) {
        return handler_fail(EVENT_START_FAILED, "calling", enter);
    }
    if (binding->function != NULL && lifespan_has(binding->function, "setup") &&
        !lifespan_call(binding, binding->function, "setup", false)) {
        return handler_fail(EVENT_START_FAILED, "calling", "setup");
    }
    return lifespan_call_either(binding, binding->function, owner, "warmup");
}

void lifespan_note(struct scoreboard *board, const char *what)
{
    if (board != NULL) {
        text_copy(board->waits_for, sizeof board->waits_for, what);
    }
}

void lifespan_note_leftovers(struct scoreboard *board)
{
    char text[SCOREBOARD_TEXT_SIZE] = "";
    PyObject *names = PyDict_New();
    PyObject *builtins = names != NULL ? PyImport_ImportModule("builtins") : NULL;
    PyObject *found = NULL;
    if (builtins != NULL && PyDict_SetItemString(names, "__builtins__", builtins) == 0 &&
        glue_run(glue_leftovers, "asya_runtime leftovers", names) == 0) {
        found = PyObject_CallFunctionObjArgs(PyDict_GetItemString(names, "leftovers"), NULL);
    }
    if (found != NULL) {
        (void)failure_text_of(found, text, sizeof text);
    }
    PyErr_Clear();
    Py_XDECREF(found);
    Py_XDECREF(builtins);
    Py_XDECREF(names);
    lifespan_note(board, text[0] != '\0' ? text : "what it has registered with atexit");
}

void lifespan_end(struct binding *binding, PyObject *owner)
{
    static const struct {
        const char *name;
        bool exits;
    } ways[] = {{"__exit__", true}, {"__aexit__", true}, {"close", false}, {"aclose", false}};
    for (size_t i = 0; owner != NULL && i < sizeof ways / sizeof *ways; i++) {
        if (!lifespan_has(owner, ways[i].name)) {
            continue;
        }
        if (!lifespan_call(binding, owner, ways[i].name, ways[i].exits)) {
            (void)handler_fail(EVENT_TEARDOWN_FAILED, "calling", ways[i].name);
        }
        return;
    }
}
