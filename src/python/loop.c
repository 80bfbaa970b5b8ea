#include "python/loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "python/active.h"
#include "python/context.h"
#include "python/generator.h"
#include "python/glue.h"
#include "python/yields.h"

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

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

/* What a piece of glue raises has no request to go to. */
static void unraisable(PyObject *result, PyObject *function)
{
    if (result == NULL) {
        PyErr_WriteUnraisable(function);
    }
    Py_XDECREF(result);
}

/* ---- the server's turns -------------------------------------------------------------------------------------------
 */

static void cancel_timer(void)
{
    if (timer != NULL) {
        unraisable(PyObject_CallMethod(timer, "cancel", NULL), timer);
        Py_CLEAR(timer);
    }
}

/* A deadline of the server may have changed. A later one is looked up when the timer rings: most requests never move
 * it. */
static void rearm(void)
{
    uint64_t deadline = server_deadline(owner->server);
    if (deadline >= armed) {
        return;
    }
    uint64_t now = clock_now();
    cancel_timer();
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
static PyObject *ready(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    if (resting.now) {
        resting.watched = false;
        unraisable(PyObject_CallFunctionObjArgs(glue.unwatch, NULL), glue.unwatch);
        return none();
    }
    owner->thread = PyEval_SaveThread();
    bool more = server_turn(owner->server, false);
    PyEval_RestoreThread(owner->thread);
    if (more) {
        rearm();
    } else {
        cancel_timer();
        unraisable(PyObject_CallFunctionObjArgs(glue.stop, NULL), glue.stop);
    }
    return none();
}

/* Calls what was put off. Whether the descriptor is watched as before: a function may run the loop itself. */
static PyObject *rest(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    resting.now = resting.watched = true;
    resting.work(owner);
    resting.now = false;
    PyObject *watched = resting.watched ? Py_True : Py_False;
    Py_INCREF(watched);
    return watched;
}

/* arm(afresh): the loop goes on; `afresh`, it is another one, and has no timer yet. */
static PyObject *arm(PyObject *self, PyObject *arguments)
{
    (void)self;
    if (PyTuple_GetItem(arguments, 0) == Py_True) {
        Py_CLEAR(timer);
        armed = CLOCK_NEVER;
    }
    rearm();
    return none();
}

/* The timer has rung: for a deadline, or, with a clock that counts milliseconds, a little before. */
static PyObject *rang(PyObject *self, PyObject *arguments)
{
    Py_CLEAR(timer);
    armed = CLOCK_NEVER;
    return ready(self, arguments);
}

/* ---- what becomes of a request ------------------------------------------------------------------------------------
 */

/* The call `arguments` begin with. NULL, without an exception, if it has ended, or if the server has without it. */
static struct call *call_of(PyObject *arguments)
{
    struct call *call = owner->server != NULL ? context_call(PyTuple_GetItem(arguments, 0)) : NULL;
    if (call != NULL) {
        call_check_fork(); /* before anything is logged of what asyncio says to a child's loop */
    }
    return call;
}

/* The request is through, within its task. Sending its reply may let the next one in, whose function runs then, in a
 * context of its own. */
static void end(struct call *call)
{
    call_close(call);
    if (call->answering) {
        call->ended = true; /* loop_take sees to it */
        return;
    }
    owner->thread = PyEval_SaveThread();
    call_send(call);
    PyEval_RestoreThread(owner->thread);
    rearm();
}

/* finish(request, result): the coroutine has returned. Gives back an asynchronous generator that is still to be run. */
static PyObject *finish(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct call *call = call_of(arguments);
    PyObject *result = PyTuple_GetItem(arguments, 1);
    if (call == NULL || result == NULL) {
        return none();
    }
    Py_INCREF(result);
    enum shape shape = shape_of(result);
    if (shape == SHAPE_ASYNC_GENERATOR && yields_begin(call)) {
        return result;
    }
    if (shape == SHAPE_ASYNC_GENERATOR) { /* nobody reads any more */
        Py_DECREF(result);
        yields_settle(call, NULL, NULL);
    } else if (shape == SHAPE_GENERATOR) {
        generator_run(call, result);
    } else {
        call_settle(call, result);
    }
    end(call);
    return none();
}

/* fail(request, error) */
static PyObject *fail(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct call *call = call_of(arguments);
    PyObject *error = PyTuple_GetItem(arguments, 1);
    if (call != NULL && error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        yields_settle(call, NULL, NULL);
        end(call);
    }
    return none();
}

/* take(request, item) of an asynchronous generator. What to send into it, WAIT or STOP, or an exception to throw. */
static PyObject *take(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct call *call = call_of(arguments);
    PyObject *item = PyTuple_GetItem(arguments, 1);
    PyObject *answer = stop_mark;
    struct error err = {.category = ERR_NONE};
    if (call == NULL || item == NULL) {
        Py_INCREF(answer);
        return answer;
    }
    switch (yields_take(call, item, &answer, &err)) {
    case TAKEN_SEND:
        rearm();
        return answer;
    case TAKEN_THROW:
        return NULL;
    case TAKEN_WAIT:
        answer = wait_mark;
        break;
    case TAKEN_STOP: /* closing the generator may take a while: the reply need not wait for it */
        yields_settle(call, NULL, &err);
        end(call);
        break;
    }
    rearm();
    Py_INCREF(answer);
    return answer;
}

/* complete(request): the asynchronous generator has come to its end. */
static PyObject *complete(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct call *call = call_of(arguments);
    if (call != NULL) {
        Py_INCREF(Py_None);
        yields_settle(call, Py_None, NULL);
        end(call);
    }
    return none();
}

/* park(request, future): the future is done when there is room. */
static PyObject *park(PyObject *self, PyObject *arguments)
{
    (void)self;
    struct call *call = call_of(arguments);
    PyObject *future = PyTuple_GetItem(arguments, 1);
    if (call != NULL && future != NULL) {
        Py_INCREF(future);
        Py_XDECREF(call->waiter);
        call->waiter = future;
        loop_resume(call); /* it may have come to pass */
    }
    return none();
}

void loop_resume(struct call *call)
{
    if (exchange_is_gone(call->conn)) {
        call->gone = true;
    } else if (exchange_pending(call->conn) > 0) {
        return;
    }
    if (call->waiter != NULL) {
        PyObject *waiter = call->waiter;
        call->waiter = NULL;
        unraisable(PyObject_CallFunctionObjArgs(glue.wake, waiter, NULL), glue.wake);
        Py_DECREF(waiter);
    } else if (call->gone) {
        active_tell_gone(call); /* it waits for something else */
    }
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

static bool add_function(PyMethodDef *method)
{
    PyObject *function = PyCFunction_New(method, NULL);
    bool added = function != NULL && PyDict_SetItemString(names, method->ml_name, function) == 0;
    Py_XDECREF(function);
    return added;
}

static bool add_mark(const char *name, PyObject **ret_mark)
{
    *ret_mark = PyUnicode_FromString(name);
    return *ret_mark != NULL && PyDict_SetItemString(names, name, *ret_mark) == 0;
}

static bool add_names(void)
{
    static PyMethodDef methods[] = {{"ready", ready, METH_NOARGS, NULL},    {"rang", rang, METH_NOARGS, NULL},
                                    {"finish", finish, METH_VARARGS, NULL}, {"fail", fail, METH_VARARGS, NULL},
                                    {"take", take, METH_VARARGS, NULL},     {"complete", complete, METH_VARARGS, NULL},
                                    {"park", park, METH_VARARGS, NULL},     {"rest", rest, METH_NOARGS, NULL},
                                    {"arm", arm, METH_VARARGS, NULL}};
    PyObject *builtins = PyImport_ImportModule("builtins");
    bool added = builtins != NULL && PyDict_SetItemString(names, "__builtins__", builtins) == 0 &&
                 add_mark("WAIT", &wait_mark) && add_mark("STOP", &stop_mark);
    Py_XDECREF(builtins);
    for (size_t i = 0; added && i < sizeof methods / sizeof *methods; i++) {
        added = add_function(&methods[i]);
    }
    return added;
}

static bool find_names(void)
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
    context_use_variable(PyDict_GetItemString(names, "request_variable"));
    return true;
}

int loop_open(struct binding *binding)
{
    if (names != NULL) {
        return 0;
    }
    owner = binding;
    names = PyDict_New();
    if (names == NULL || !add_names() || glue_run(glue_loop, "asya_runtime loop", names) != 0 || !find_names()) {
        Py_CLEAR(names);
        return -1;
    }
    return 0;
}

/* Calls what the glue defines without arguments. */
static void call_glue(const char *name)
{
    PyObject *function = PyDict_GetItemString(names, name);
    unraisable(PyObject_CallFunctionObjArgs(function, NULL), function);
}

void loop_pause(void) { unraisable(PyObject_CallFunctionObjArgs(glue.pause, NULL), glue.pause); }

void loop_run(void (*work)(struct binding *binding))
{
    resting.work = work;
    turning = true;
    PyObject *descriptor = PyLong_FromLong(server_descriptor(owner->server));
    if (descriptor == NULL || PyDict_SetItemString(names, "descriptor", descriptor) != 0) {
        PyErr_WriteUnraisable(names);
    }
    Py_XDECREF(descriptor);
    rearm();
    call_glue("run");
    turning = false;
}

void loop_close(void)
{
    if (names != NULL) {
        call_glue("close");
    }
}

void loop_take(struct call *call, enum shape shape, PyObject *thing)
{
    call->place = CALL_TASK;
    if (!call->active) {
        active_add(call);
    }
    PyObject *start = shape == SHAPE_AWAITABLE ? glue.answer : glue.drive;
    PyObject *request = context_of(call);
    PyObject *task = NULL;
    if (request != NULL && (shape == SHAPE_AWAITABLE || yields_begin(call))) {
        task = PyObject_CallFunctionObjArgs(start, request, thing, NULL);
    }
    Py_DECREF(thing);
    if (request == NULL || context_call(request) == call) { /* it still goes on, or could not begin */
        if (task == NULL) {
            yields_settle(call, NULL, NULL);
            end(call);
        } else {
            call->task = task;
            task = NULL;
        }
    }
    Py_XDECREF(task);
    Py_XDECREF(request);
}

bool loop_cancel(const struct call *call)
{
    PyObject *task = call->task != NULL ? call->task : Py_None;
    PyObject *done = PyObject_CallFunctionObjArgs(glue.cancel, task, NULL);
    bool cancelled = done == Py_True;
    if (done == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(done);
    return cancelled;
}

bool loop_is_cancelled_error(PyObject *class)
{
    return names != NULL && PyErr_GivenExceptionMatches(class, PyDict_GetItemString(names, "CancelledError")) != 0;
}

PyObject *loop_settle(struct binding *binding, PyObject *awaitable)
{
    return loop_open(binding) == 0 ? PyObject_CallFunctionObjArgs(glue.settle, awaitable, NULL) : NULL;
}
