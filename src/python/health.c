#include "python/health.h"

#include "base/clock.h"
#include "base/text.h"
#include "python/failure.h"
#include "python/loop.h"
#include "python/object.h"
#include "python/raised.h"
#include "python/shape.h"
#include "python/stdio.h"
#include "server/server.h"

static PyObject *check; /* NULL: the function has none */
static struct binding *owner_binding;
static uint64_t span;
static uint64_t due;
static bool is_awaited; /* a coroutine of it runs on the loop */

/* New reference; NULL without an exception if there is none. */
static PyObject *health_find(PyObject *object)
{
    PyObject *found = object != NULL ? PyObject_GetAttrString(object, "healthcheck") : NULL;
    if (found != NULL && !PyCallable_Check(found)) {
        Py_CLEAR(found);
    }
    PyErr_Clear();
    return found;
}

void health_begin(struct binding *binding, PyObject *owner, uint64_t interval)
{
    check = health_find(binding->function);
    check = check != NULL ? check : health_find(owner);
    owner_binding = binding;
    span = interval;
}

bool health_is_wanted(void) { return check != NULL; }

void health_end(void) { Py_CLEAR(check); }

/* "raised TYPE: TEXT", of the exception that is set. */
static void health_describe(char text[SCOREBOARD_TEXT_SIZE])
{
    char type[ERROR_TYPE_SIZE];
    char why[SCOREBOARD_TEXT_SIZE];
    struct raised raised = raised_take();
    PyObject *name = PyObject_GetAttrString(raised.type, "__name__");
    PyErr_Clear();
    (void)failure_text_of(name != NULL ? name : raised.type, type, sizeof type);
    (void)failure_text_of(raised.value != NULL ? raised.value : Py_None, why, sizeof why);
    (void)PyOS_snprintf(text, SCOREBOARD_TEXT_SIZE, "raised %.40s%s%s", type, why[0] != '\0' ? ": " : "", why);
    text_trim_partial(text);
    Py_XDECREF(name);
    raised_done(&raised);
}

/* Notes what it said: a result, or NULL with the exception set. */
static void health_note(PyObject *result)
{
    struct scoreboard *board = owner_binding->board;
    char text[SCOREBOARD_TEXT_SIZE] = "";
    int truth = result == NULL ? -1 : result == Py_None ? 1 : PyObject_IsTrue(result);
    if (truth < 0) {
        health_describe(text);
    } else if (truth == 0) {
        text_copy(text, sizeof text, "returned what is false");
    }
    if (board != NULL) {
        memcpy(board->health_text, text, sizeof text);
        atomic_store_explicit(&board->health, truth > 0 ? CHECKUP_PASSED : CHECKUP_FAILED, memory_order_release);
        atomic_store_explicit(&board->health_since, 0, memory_order_relaxed);
    }
    stdio_end_request(NULL);
    is_awaited = false;
    due = clock_after(clock_now(), span);
}

/* Its task has ended on the loop. */
static PyObject *health_done(PyObject *self, PyObject *task)
{
    (void)self;
    PyObject *result = PyObject_CallMethod(task, "result", NULL);
    health_note(result);
    Py_XDECREF(result);
    if (owner_binding->server != NULL) {
        server_wake(owner_binding->server); /* so that it asks again when the next one is due */
    }
    return object_none();
}

/* The loop runs, and cannot be run within itself. False with the exception set. */
static bool health_schedule(PyObject *awaitable)
{
    static PyMethodDef method = {"health_done", health_done, METH_O, NULL};
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    PyObject *task = asyncio != NULL ? PyObject_CallMethod(asyncio, "ensure_future", "O", awaitable) : NULL;
    PyObject *done = task != NULL ? PyCFunction_New(&method, NULL) : NULL;
    PyObject *added = done != NULL ? PyObject_CallMethod(task, "add_done_callback", "O", done) : NULL;
    bool scheduled = added != NULL;
    Py_XDECREF(added);
    Py_XDECREF(done);
    Py_XDECREF(task);
    Py_XDECREF(asyncio);
    return scheduled;
}

static void health_call(struct binding *binding)
{
    PyObject *result = PyObject_CallFunctionObjArgs(check, NULL);
    if (result != NULL && shape_of(result) == SHAPE_AWAITABLE) {
        PyObject *awaitable = result;
        bool is_running = loop_is_running();
        is_awaited = is_running && health_schedule(awaitable);
        result = is_running ? NULL : loop_settle(binding, awaitable);
        Py_DECREF(awaitable);
    }
    if (!is_awaited) {
        health_note(result);
        Py_XDECREF(result);
    }
}

uint64_t health_tend(void *context, uint64_t now)
{
    struct binding *binding = context;
    if (!is_awaited && due <= now) {
        if (binding->board != NULL) {
            atomic_store_explicit(&binding->board->health_since, now, memory_order_relaxed);
        }
        PyEval_RestoreThread(binding->thread);
        health_call(binding);
        binding->thread = PyEval_SaveThread();
    }
    return is_awaited ? CLOCK_NEVER : due;
}
