#include "python/answer.h"

#include "base/log.h"
#include "python/active.h"
#include "python/fork.h"
#include "python/health.h"
#include "python/invoke.h"
#include "python/loop.h"
#include "python/outcome.h"
#include "python/pool.h"
#include "python/raised.h"
#include "python/stream.h"

/* A call in the main thread. */
struct answer_turn {
    struct call *call;
    PyObject *thing; /* what the function has returned for the loop to run */
    bool later;      /* the loop has taken the call over */
};

static void answer_take_over(void *argument)
{
    struct answer_turn *turn = argument;
    turn->later = loop_take(turn->call, turn->thing);
}

static void answer_run(void *argument)
{
    struct answer_turn *turn = argument;
    if (!invoke_run(turn->call, &turn->thing)) {
        answer_take_over(turn);
    }
}

/* What remains to be done for a kept call after its turn. Sending a reply may let the next request in, which is called
 * at once then. */
static void answer_finish(const struct answer_turn *turn)
{
    struct binding *binding = turn->call->binding;
    if (turn->later) {
        call_free(turn->call);
        return;
    }
    binding->thread = PyEval_SaveThread();
    call_send(turn->call);
    PyEval_RestoreThread(binding->thread);
}

/* ---- plain functions beside a running loop ----------------------------------------------------------------------
 */

/* A call that waits for the loop to stand still. There are as many as requests may run at once: one, unless the pool
 * had no memory for a job. */
struct answer_waiting {
    struct call call;
    struct answer_waiting *next;
};

static struct answer_waiting *answer_queue;

/* Keeps the request until the loop stands still. False if there is no memory. */
static bool answer_put_off(struct binding *binding, const struct request *request, size_t limit)
{
    struct answer_waiting *waiting = call_keep_request(sizeof *waiting, &stream_inline, binding, request, limit);
    if (waiting == NULL) {
        return false;
    }
    struct answer_waiting **last = &answer_queue;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = waiting;
    PyEval_RestoreThread(binding->thread);
    loop_pause();
    binding->thread = PyEval_SaveThread();
    return true;
}

/* Now the loop stands still. */
static void answer_rest(struct binding *binding)
{
    while (answer_queue != NULL) {
        struct answer_turn turn = {.call = &answer_queue->call};
        answer_queue = answer_queue->next;
        PyObject *scope = scope_run(&binding->scope, answer_run, &turn);
        Py_XDECREF(scope);
        answer_finish(&turn);
    }
}

/* ---- the service --------------------------------------------------------------------------------------------------
 */

static void answer_refuse(struct call *call)
{
    struct error err;
    error_set(&err, ERR_MEMORY, 0, "no memory for the request");
    outcome_fail_error(call, &err, false);
}

static enum service_status answer_request(void *context, const struct request *request, struct reply *reply)
{
    struct binding *binding = context;
    if (pool_is_started() && pool_submit(binding, request, reply->body.limit)) {
        return SERVICE_LATER;
    }
    bool wait = loop_is_running() && !binding->is_async;
    if (wait && answer_put_off(binding, request, reply->body.limit)) {
        return SERVICE_LATER;
    }
    struct call call;
    struct answer_turn turn = {.call = &call};
    call_make(&call, &stream_inline, binding, request, reply);
    PyEval_RestoreThread(binding->thread);
    if (wait) {
        answer_refuse(&call);
    } else if (binding->function != NULL) {
        PyObject *scope = scope_run(&binding->scope, answer_run, &turn);
        Py_XDECREF(scope);
    } else {
        answer_run(&turn);
    }
    binding->thread = PyEval_SaveThread();
    if (call.streaming) { /* without the GIL, since the next request may be answered within */
        exchange_stream_end(call.conn, !call.gone);
        return SERVICE_LATER;
    }
    return turn.later ? SERVICE_LATER : SERVICE_DONE;
}

/* Runs the signal handlers of the user's module, and ours. What they raise belongs to no request, so it is only
 * logged. */
static void answer_interrupted(void *context)
{
    struct binding *binding = context;
    PyEval_RestoreThread(binding->thread);
    if (PyErr_CheckSignals() != 0) {
        char text[256];
        struct raised raised = raised_take();
        (void)failure_text_of(raised.type, text, sizeof text);
        log_warning(EVENT_SIGNAL_IGNORED, "a signal handler raised %s between requests; it was ignored", text);
        raised_done(&raised);
    }
    binding->thread = PyEval_SaveThread();
}

/* A cancellation has come, or threads have something to send, or coroutines for the loop. */
static void answer_collect(void *context)
{
    struct binding *binding = context;
    if (active_take_news()) {
        answer_interrupted(binding);
    }
    if (!pool_is_started() || !pool_collect()) {
        return;
    }
    PyEval_RestoreThread(binding->thread);
    struct answer_turn turn = {0};
    PyObject *scope;
    while ((turn.call = pool_take_coroutine(&turn.thing, &scope)) != NULL) {
        scope_run_in(&binding->scope, scope, answer_take_over, &turn);
        Py_XDECREF(scope);
        answer_finish(&turn);
    }
    binding->thread = PyEval_SaveThread();
}

static void answer_resume(void *context, struct conn *conn)
{
    (void)context;
    struct call *call = exchange_data(conn);
    if (call != NULL) {
        call->runner->resume(call);
    }
}

struct service answer_service(struct binding *binding)
{
    return (struct service){.context = binding,
                            .tend = health_is_wanted() ? health_tend : NULL,
                            .answer = answer_request,
                            .interrupted = answer_interrupted,
                            .collect = answer_collect,
                            .resume = answer_resume};
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
    if (more) { /* a coroutine has appeared: from now on the event loop calls server_turn() */
        loop_run(answer_rest);
    }
    pool_stop();
    active_wake(NULL);
    fork_use_server(NULL);
    binding->server = NULL;
    server_close(server);
    return true;
}
