#include "python/loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "python/active.h"
#include "python/context.h"
#include "python/fork.h"
#include "python/glue.h"
#include "python/invoke.h"
#include "python/object.h"
#include "python/outcome.h"
#include "python/stream.h"
#include "python/yields.h"

#include <stdlib.h>

/*
 * The server runs inside the loop: its one epoll descriptor is a reader of the loop, so each time anything is to be
 * done there, loop_ready() gives the server a turn, and a timer does so for its deadlines. A turn may call functions:
 *
 *   an async function   is called within the turn; its coroutine becomes a task, which goes on between turns
 *   a plain function    must not be called while the loop runs, where asyncio.run() would fail. So such calls are put
 *                       off (python/answer.c): loop_pause() stops the loop, loop_rest() makes the calls, and the loop
 *                       goes on
 *
 * A task reports back by the functions that glue/loop.py finds in its globals: finish, fail, take, complete. The first
 * step of a task may run within loop_take(), from CPython 3.12 on: then the call can be through before loop_take()
 * returns, and loop_end() must leave its reply to that (`starting`).
 */

/* A call that a task runs. */
struct loop_task {
    struct call call;
    PyObject *task;   /* owned; NULL while its first step runs */
    PyObject *waiter; /* owned future, while the client is slower than the stream */
    bool starting;    /* loop_take has not returned yet */
    bool ended;       /* and the reply is complete */
};

static PyObject *names; /* the globals of the glue; NULL: there is no loop */
static struct binding *owner;
static PyObject *timer; /* what wakes the loop for the server's deadline, or NULL */
static uint64_t armed = CLOCK_NEVER;
static PyObject *wait_mark; /* the two answers of take() */
static PyObject *stop_mark;

/* What the glue defines, looked up once. */
static struct {
    PyObject *answer;
    PyObject *drive;
    PyObject *wake;
    PyObject *cancel;
    PyObject *call_after;
    PyObject *stop;
    PyObject *settle;
    PyObject *rang;
    PyObject *pause;
    PyObject *unwatch;
} glue;

/* While the loop stands still for plain functions. */
static struct {
    bool now;
    bool watched; /* the loop still looks at the server's descriptor */
    void (*work)(struct binding *binding);
} resting;

static bool turning; /* loop_run() has begun */

bool loop_is_open(void) { return names != NULL; }

bool loop_is_running(void) { return turning && !resting.now; }

/* What a piece of glue raises belongs to no request, so Python writes it to standard error. */
static void loop_unraisable(PyObject *result, PyObject *function)
{
    if (result == NULL) {
        PyErr_WriteUnraisable(function);
    }
    Py_XDECREF(result);
}

/* ---- the server's turns -------------------------------------------------------------------------------------------
 */

static void loop_cancel_timer(void)
{
    if (timer != NULL) {
        loop_unraisable(PyObject_CallMethod(timer, "cancel", NULL), timer);
        Py_CLEAR(timer);
    }
}

/* A deadline of the server may have changed. Only an earlier one needs the timer to be set: a later one is found when
 * the timer rings, and most requests never move it. */
static void loop_rearm(void)
{
    uint64_t deadline = server_deadline(owner->server);
    if (deadline >= armed) {
        return;
    }
    uint64_t now = clock_now();
    loop_cancel_timer();
    double seconds = deadline > now ? (double)(deadline - now) / 1e9 : 0;
    PyObject *delay = PyFloat_FromDouble(seconds);
    timer = delay != NULL ? PyObject_CallFunctionObjArgs(glue.call_after, delay, glue.rang, NULL) : NULL;
    armed = timer != NULL ? deadline : CLOCK_NEVER;
    Py_XDECREF(delay);
    if (timer == NULL) {
        PyErr_WriteUnraisable(glue.call_after);
    }
}

/* The descriptor is readable. */
static PyObject *loop_ready(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    if (resting.now) {
        resting.watched = false;
        loop_unraisable(PyObject_CallFunctionObjArgs(glue.unwatch, NULL), glue.unwatch);
        return object_none();
    }
    owner->thread = PyEval_SaveThread();
    bool more = server_turn(owner->server, false);
    PyEval_RestoreThread(owner->thread);
    if (more) {
        loop_rearm();
    } else {
        loop_cancel_timer();
        loop_unraisable(PyObject_CallFunctionObjArgs(glue.stop, NULL), glue.stop);
    }
    return object_none();
}

/* Makes the calls that were put off. Returns whether the loop still watches the descriptor: it does not if a
 * function has run the loop itself, since loop_ready() stops that meanwhile. */
static PyObject *loop_rest(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    resting.now = resting.watched = true;
    resting.work(owner);
    resting.now = false;
    PyObject *watched = resting.watched ? Py_True : Py_False;
    return object_own(watched);
}

/* arm(afresh): the loop goes on. With `afresh` it is a new one, which has no timer yet. */
static PyObject *loop_arm(PyObject *self, PyObject *arguments)
{
    (void)self;
    if (PyTuple_GetItem(arguments, 0) == Py_True) {
        Py_CLEAR(timer);
        armed = CLOCK_NEVER;
    }
    loop_rearm();
    return object_none();
}

/* The timer has rung: at a deadline, or, where the clock counts milliseconds, a little before it. */
static PyObject *loop_rang(PyObject *self, PyObject *arguments)
{
    Py_CLEAR(timer);
    armed = CLOCK_NEVER;
    return loop_ready(self, arguments);
}

/* ---- what becomes of a request ------------------------------------------------------------------------------------
 */

/* The task whose request is the first of `arguments`. NULL, without an exception, if it has ended or the server is
 * closed. */
static struct loop_task *loop_task_of(PyObject *arguments)
{
    struct call *call = owner->server != NULL ? context_call(PyTuple_GetItem(arguments, 0)) : NULL;
    if (call != NULL) {
        fork_end_child(); /* in a forked child asyncio's errors about its loop must not be logged */
    }
    return (struct loop_task *)call;
}

/* The reply is complete. Runs within the task; sending the reply may let the server call the function for the next
 * request, which has a context of its own. */
static void loop_end(struct loop_task *task)
{
    outcome_close(&task->call);
    Py_CLEAR(task->task);
    Py_CLEAR(task->waiter);
    if (task->starting) {
        task->ended = true;
        return;
    }
    owner->thread = PyEval_SaveThread();
    call_send(&task->call);
    PyEval_RestoreThread(owner->thread);
    loop_rearm();
}

/* finish(request, result): the coroutine has returned. Gives back an asynchronous generator that is still to be
 * run. */
static PyObject *loop_finish(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct loop_task *task = loop_task_of(arguments);
    PyObject *result = PyTuple_GetItem(arguments, 1);
    if (task == NULL || result == NULL) {
        return object_none();
    }
    Py_INCREF(result);
    enum shape shape = shape_of(result);
    if (shape == SHAPE_ASYNC_GENERATOR && yields_begin(&task->call)) {
        return result;
    }
    if (shape == SHAPE_ASYNC_GENERATOR) { /* nobody reads any more */
        Py_DECREF(result);
        yields_settle(&task->call, NULL, NULL);
    } else {
        invoke_settle(&task->call, shape, result);
    }
    loop_end(task);
    return object_none();
}

/* fail(request, error) */
static PyObject *loop_fail(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct loop_task *task = loop_task_of(arguments);
    PyObject *error = PyTuple_GetItem(arguments, 1);
    if (task != NULL && error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        yields_settle(&task->call, NULL, NULL);
        loop_end(task);
    }
    return object_none();
}

/* take(request, item) of an asynchronous generator. What to send into it, WAIT or STOP, or an exception to
 * throw. */
static PyObject *loop_take_item(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct loop_task *task = loop_task_of(arguments);
    PyObject *item = PyTuple_GetItem(arguments, 1);
    PyObject *answer = stop_mark;
    struct error err = {.category = ERR_NONE};
    if (task == NULL || item == NULL) {
        return object_own(answer);
    }
    switch (yields_take(&task->call, item, &answer, &err)) {
    case TAKEN_SEND:
        loop_rearm();
        return answer;
    case TAKEN_THROW:
        return NULL;
    case TAKEN_WAIT:
        answer = wait_mark;
        break;
    case TAKEN_STOP: /* the reply does not wait for the generator to be closed, which may take a while */
        yields_settle(&task->call, NULL, &err);
        loop_end(task);
        break;
    }
    loop_rearm();
    return object_own(answer);
}

/* complete(request): the asynchronous generator has come to its end. */
static PyObject *loop_complete(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct loop_task *task = loop_task_of(arguments);
    if (task != NULL) {
        Py_INCREF(Py_None);
        yields_settle(&task->call, Py_None, NULL);
        loop_end(task);
    }
    return object_none();
}

/* The client of this call has taken its events, or is gone. */
static void loop_go_on(struct loop_task *task)
{
    struct call *call = &task->call;
    if (exchange_is_gone(call->conn)) {
        call->gone = true;
    } else if (exchange_pending(call->conn) > 0) {
        return;
    }
    if (task->waiter != NULL) {
        PyObject *waiter = task->waiter;
        task->waiter = NULL;
        loop_unraisable(PyObject_CallFunctionObjArgs(glue.wake, waiter, NULL), glue.wake);
        Py_DECREF(waiter);
    } else if (call->gone) {
        active_tell_gone(call); /* it waits for something else than its client */
    }
}

/* when_room(request, future): the future is done when there is room. */
static PyObject *loop_when_room(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct loop_task *task = loop_task_of(arguments);
    PyObject *future = PyTuple_GetItem(arguments, 1);
    if (task != NULL && future != NULL) {
        Py_INCREF(future);
        Py_XDECREF(task->waiter);
        task->waiter = future;
        loop_go_on(task); /* the client may have caught up already */
    }
    return object_none();
}

/* ---- who runs a call ----------------------------------------------------------------------------------------------
 */

static PyObject *loop_asyncio_task(const struct call *call) { return ((const struct loop_task *)call)->task; }

/* By task.cancel(), as asyncio does it. Not possible for the task that holds up the loop right now. */
static bool loop_cancel(const struct call *call, PyObject *class)
{
    (void)class;
    PyObject *task = loop_asyncio_task(call) != NULL ? loop_asyncio_task(call) : Py_None;
    PyObject *done = PyObject_CallFunctionObjArgs(glue.cancel, task, NULL);
    bool cancelled = done == Py_True;
    if (done == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(done);
    return cancelled;
}

/* Whether a class is asyncio.CancelledError or one below it. */
static bool loop_is_cancelled_error(PyObject *class)
{
    return PyErr_GivenExceptionMatches(class, PyDict_GetItemString(names, "CancelledError")) != 0;
}

static void loop_resume(struct call *call)
{
    PyEval_RestoreThread(owner->thread);
    loop_go_on((struct loop_task *)call);
    owner->thread = PyEval_SaveThread();
}

static const struct runner loop_runner = {.cancel = loop_cancel,
                                          .is_cancelled = loop_is_cancelled_error,
                                          .task = loop_asyncio_task,
                                          .open = stream_open_here,
                                          .send = stream_send_here,
                                          .resume = loop_resume};

/* Moves the call into a task of its own. NULL with the exception set: then it has not moved. */
static struct loop_task *loop_make_task(struct call *call)
{
    struct loop_task *task = loop_open(call->binding) == 0 ? calloc(1, sizeof *task) : NULL;
    if (task == NULL || !call_keep(call, &task->call)) {
        free(task);
        if (PyErr_Occurred() == NULL) {
            PyErr_SetString(PyExc_MemoryError, "no memory for the request");
        }
        return NULL;
    }
    task->call.runner = &loop_runner;
    task->starting = true;
    context_move(&task->call);
    (void)active_remove(call);
    active_add(&task->call);
    return task;
}

/* Starts the task, whose first step may run at once. Borrows `thing`. */
static void loop_start(struct loop_task *task, PyObject *thing)
{
    bool coroutine = shape_of(thing) == SHAPE_AWAITABLE;
    PyObject *request = context_of(&task->call);
    PyObject *started = NULL;
    if (request != NULL && (coroutine || yields_begin(&task->call))) {
        started = PyObject_CallFunctionObjArgs(coroutine ? glue.answer : glue.drive, request, thing, NULL);
    }
    Py_XDECREF(request);
    if (task->ended) {
        Py_XDECREF(started);
    } else if (started == NULL) {
        yields_settle(&task->call, NULL, NULL);
        loop_end(task);
    } else {
        task->task = started;
    }
}

bool loop_take(struct call *call, PyObject *thing)
{
    struct loop_task *task = loop_make_task(call);
    if (task == NULL) {
        Py_DECREF(thing);
        outcome_settle(call, NULL);
        outcome_close(call);
        return false;
    }
    loop_start(task, thing);
    Py_DECREF(thing);
    task->starting = false;
    if (!task->ended) {
        return true;
    }
    *call->reply = task->call.own;
    call->streaming = task->call.streaming;
    call->gone = task->call.gone;
    exchange_set_data(task->call.conn, NULL);
    call_free(&task->call);
    return false;
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

static bool loop_add_mark(const char *name, PyObject **ret_mark)
{
    *ret_mark = PyUnicode_FromString(name);
    return *ret_mark != NULL && PyDict_SetItemString(names, name, *ret_mark) == 0;
}

static bool loop_add_names(void)
{
    static PyMethodDef methods[] = {{"ready", loop_ready, METH_NOARGS, NULL},
                                    {"rang", loop_rang, METH_NOARGS, NULL},
                                    {"finish", loop_finish, METH_VARARGS, NULL},
                                    {"fail", loop_fail, METH_VARARGS, NULL},
                                    {"take", loop_take_item, METH_VARARGS, NULL},
                                    {"complete", loop_complete, METH_VARARGS, NULL},
                                    {"when_room", loop_when_room, METH_VARARGS, NULL},
                                    {"rest", loop_rest, METH_NOARGS, NULL},
                                    {"arm", loop_arm, METH_VARARGS, NULL}};
    PyObject *builtins = PyImport_ImportModule("builtins");
    PyObject *variable = context_variable();
    bool added = builtins != NULL && PyDict_SetItemString(names, "__builtins__", builtins) == 0 && variable != NULL &&
                 PyDict_SetItemString(names, "request_variable", variable) == 0 && loop_add_mark("WAIT", &wait_mark) &&
                 loop_add_mark("STOP", &stop_mark);
    Py_XDECREF(builtins);
    for (size_t i = 0; added && i < sizeof methods / sizeof *methods; i++) {
        added = object_set_function(names, &methods[i]);
    }
    return added;
}

static bool loop_find_names(void)
{
    const struct {
        const char *name;
        PyObject **place;
    } wanted[] = {{"answer", &glue.answer},         {"drive", &glue.drive}, {"wake", &glue.wake},
                  {"cancel", &glue.cancel},         {"stop", &glue.stop},   {"settle", &glue.settle},
                  {"call_after", &glue.call_after}, {"rang", &glue.rang},   {"pause", &glue.pause},
                  {"unwatch", &glue.unwatch}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        *wanted[i].place = PyDict_GetItemString(names, wanted[i].name); /* borrowed from `names` */
        if (*wanted[i].place == NULL) {
            PyErr_SetString(PyExc_RuntimeError, wanted[i].name);
            return false;
        }
    }
    return true;
}

int loop_open(struct binding *binding)
{
    if (names != NULL) {
        return 0;
    }
    owner = binding;
    names = PyDict_New();
    if (names == NULL || !loop_add_names() || glue_run(glue_loop, "asya_runtime loop", names) != 0 ||
        !loop_find_names()) {
        Py_CLEAR(names);
        return -1;
    }
    return 0;
}

/* Calls what the glue defines without arguments. */
static void loop_call_glue(const char *name)
{
    PyObject *function = PyDict_GetItemString(names, name);
    loop_unraisable(PyObject_CallFunctionObjArgs(function, NULL), function);
}

void loop_pause(void) { loop_unraisable(PyObject_CallFunctionObjArgs(glue.pause, NULL), glue.pause); }

void loop_run(void (*work)(struct binding *binding))
{
    resting.work = work;
    turning = true;
    PyObject *descriptor = PyLong_FromLong(server_descriptor(owner->server));
    if (descriptor == NULL || PyDict_SetItemString(names, "descriptor", descriptor) != 0) {
        PyErr_WriteUnraisable(names);
    }
    Py_XDECREF(descriptor);
    loop_rearm();
    loop_call_glue("run");
    turning = false;
}

void loop_close(void)
{
    if (names != NULL) {
        loop_call_glue("close");
    }
}

PyObject *loop_settle(struct binding *binding, PyObject *awaitable)
{
    return loop_open(binding) == 0 ? PyObject_CallFunctionObjArgs(glue.settle, awaitable, NULL) : NULL;
}
