#include "python/answer.h"

#include "base/log.h"
#include "python/active.h"
#include "python/fork.h"
#include "python/generator.h"
#include "python/loop.h"
#include "python/pool.h"
#include "python/shape.h"

static enum service_status no_memory(struct call *call)
{
    struct error err;
    error_set(&err, ERR_MEMORY, 0, "no memory for the request");
    call_fail_error(call, &err, false);
    return SERVICE_DONE;
}

/* The function has returned a coroutine or an asynchronous generator: on to the loop. */
static enum service_status answer_later(struct call *call, enum shape shape, PyObject *thing)
{
    if (loop_open(call->binding) != 0) { /* asyncio cannot be had: its exception is the reply */
        Py_DECREF(thing);
        call_settle(call, NULL);
        return SERVICE_DONE;
    }
    struct call *kept = call_keep(call);
    if (kept == NULL) {
        Py_DECREF(thing);
        return no_memory(call);
    }
    kept->answering = true;
    loop_take(kept, shape, thing);
    kept->answering = false;
    if (!kept->ended) {
        return SERVICE_LATER;
    }
    /* it never had to wait: as if a plain function had been called */
    *call->reply = kept->own;
    call->streaming = kept->streaming;
    call->gone = kept->gone;
    exchange_set_data(kept->conn, NULL);
    call_free(kept);
    return SERVICE_DONE;
}

/* A call in the main thread. */
struct turn {
    struct call call;
    const struct request *request;
    enum service_status status;
};

static void answer_here(void *argument)
{
    struct turn *turn = argument;
    struct call *call = &turn->call;
    turn->status = SERVICE_DONE;
    if (call_open(call, turn->request->message, turn->request->size)) {
        PyObject *result = call_function(call);
        enum shape shape = result != NULL ? shape_of(result) : SHAPE_VALUE;
        if (shape == SHAPE_VALUE) {
            call_settle(call, result);
        } else if (shape == SHAPE_GENERATOR) {
            generator_run(call, result);
        } else {
            turn->status = answer_later(call, shape, result);
        }
    }
    call_close(call);
}

/* ---- plain functions beside a running loop ----------------------------------------------------------------------
 */

/* Calls that wait for the loop to stand still: as many as requests may run at once, which is one but for a shortage. */
static struct call *put_off;

/* Keeps the request until the loop stands still. False if there is no memory. */
static bool answer_put_off(struct binding *binding, const struct request *request, size_t limit)
{
    struct call *call = call_keep_request(binding, request, limit);
    if (call == NULL) {
        return false;
    }
    call->failure = &binding->failure;
    struct call **last = &put_off;
    while (*last != NULL) {
        last = &(*last)->queued;
    }
    call->queued = NULL;
    *last = call;
    PyEval_RestoreThread(binding->thread);
    loop_pause();
    binding->thread = PyEval_SaveThread();
    return true;
}

struct late {
    struct call *call;
    bool goes_on; /* as a task */
};

static void answer_late(void *argument)
{
    struct late *late = argument;
    struct call *call = late->call;
    if (call_open(call, call->message, call->size)) {
        PyObject *result = call_function(call);
        enum shape shape = result != NULL ? shape_of(result) : SHAPE_VALUE;
        if (shape == SHAPE_VALUE) {
            call_settle(call, result);
        } else if (shape == SHAPE_GENERATOR) {
            generator_run(call, result);
        } else {
            late->goes_on = true;
            loop_take(call, shape, result);
            return;
        }
    }
    call_close(call);
}

/* Sending a reply may let the next request in, which is called at once then: the loop stands still. */
static void answer_rest(struct binding *binding)
{
    while (put_off != NULL) {
        struct late late = {.call = put_off};
        put_off = late.call->queued;
        PyObject *scope = scope_run(&binding->scope, answer_late, &late);
        Py_XDECREF(scope);
        if (!late.goes_on) {
            binding->thread = PyEval_SaveThread();
            call_send(late.call);
            PyEval_RestoreThread(binding->thread);
        }
    }
}

static enum service_status answer(void *context, const struct request *request, struct reply *reply)
{
    struct binding *binding = context;
    if (pool_is_started() && pool_submit(binding, request, reply->body.limit)) {
        return SERVICE_LATER;
    }
    bool wait = loop_is_running() && !binding->is_async;
    if (wait && answer_put_off(binding, request, reply->body.limit)) {
        return SERVICE_LATER;
    }
    struct turn turn = {.request = request};
    call_make(&turn.call, binding, request, reply);
    PyEval_RestoreThread(binding->thread);
    if (wait) {
        turn.status = no_memory(&turn.call);
    } else if (binding->function != NULL) {
        PyObject *scope = scope_run(&binding->scope, answer_here, &turn);
        Py_XDECREF(scope);
    } else {
        answer_here(&turn);
    }
    binding->thread = PyEval_SaveThread();
    if (turn.call.streaming) { /* may let the next request in: without the GIL */
        exchange_stream_end(turn.call.conn, !turn.call.gone);
        return SERVICE_LATER;
    }
    return turn.status;
}

/* Runs signal handlers the user's module has set, and ours; what they raise has no request to go to. */
static void interrupted(void *context)
{
    struct binding *binding = context;
    PyEval_RestoreThread(binding->thread);
    if (PyErr_CheckSignals() != 0) {
        char text[256];
        PyObject *type;
        PyObject *value;
        PyObject *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        (void)failure_text_of(type, text, sizeof text);
        log_warning("a signal handler raised %s between requests; it was ignored", text);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    binding->thread = PyEval_SaveThread();
}

/* Goes on with a coroutine that a thread's function has returned. Taken over. */
static void take_coroutine(void *argument)
{
    struct call *call = argument;
    struct binding *binding = call->binding;
    PyObject *thing = call->returned;
    call->returned = NULL;
    if (loop_open(binding) == 0) {
        loop_take(call, shape_of(thing), thing);
        return;
    }
    Py_DECREF(thing);
    call_settle(call, NULL);
    call_close(call);
    binding->thread = PyEval_SaveThread();
    call_send(call);
    PyEval_RestoreThread(binding->thread);
}

/* A cancellation has come, or threads have something to send, or coroutines for the loop. */
static void collect(void *context)
{
    struct binding *binding = context;
    if (active_has_news()) {
        interrupted(binding);
    }
    if (!pool_is_started() || !pool_collect()) {
        return;
    }
    PyEval_RestoreThread(binding->thread);
    struct call *call;
    while ((call = pool_take_coroutine()) != NULL) {
        PyObject *scope = call->context;
        call->context = NULL;
        scope_run_in(&binding->scope, scope, take_coroutine, call);
        Py_XDECREF(scope);
    }
    binding->thread = PyEval_SaveThread();
}

static void resume(void *context, struct conn *conn)
{
    struct binding *binding = context;
    struct call *call = exchange_data(conn);
    if (call == NULL) {
        return;
    }
    bool threaded = call->place == CALL_THREAD;
    if (threaded && !pool_resume(call)) {
        return;
    }
    PyEval_RestoreThread(binding->thread);
    if (threaded) {
        active_tell_gone(call);
    } else {
        loop_resume(call);
    }
    binding->thread = PyEval_SaveThread();
}

struct service answer_service(struct binding *binding)
{
    return (struct service){
        .context = binding, .answer = answer, .interrupted = interrupted, .collect = collect, .resume = resume};
}

bool answer_serve(struct binding *binding, const struct server_config *config, struct error *err)
{
    struct server *server = server_open(config, err);
    if (server == NULL) {
        return false;
    }
    binding->server = server;
    active_wake(server);
    fork_use_server(server);
    binding->thread = PyEval_SaveThread();
    bool more = true;
    while (more && !loop_is_open()) {
        more = server_turn(server, true);
    }
    PyEval_RestoreThread(binding->thread);
    if (more) { /* a coroutine has appeared: from now on the event loop gives the turns */
        loop_run(answer_rest);
    }
    pool_stop();
    active_wake(NULL);
    fork_use_server(NULL);
    binding->server = NULL;
    server_close(server);
    return true;
}
