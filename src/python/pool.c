#include "python/pool.h"

#include "base/log.h"
#include "python/active.h"
#include "python/generator.h"
#include "python/shape.h"

#include <pythread.h>
#include <stdlib.h>

/* One thread. */
struct member {
    PyThread_type_lock wakeup; /* held while there is nothing to wake up for */
    struct member *idle;       /* the next idle one */
    struct call *call;         /* given to it */
    PyObject *thread;          /* owned; NULL for one that Python did not start */
    PyThread_type_lock ended;  /* held by such a one until it ends */
    enum begun { NOT_BEGUN, BEGUN, BEGUN_GREEN } begun;
    struct scope scope;
    struct failure failure;
};

struct queue {
    struct call *first;
    struct call *last;
};

static struct {
    struct member *members; /* `count` of them */
    uint32_t count;
    unsigned long main;      /* the main thread, as PyThread_get_thread_ident() has it */
    PyThread_type_lock lock; /* of all that follows; never held while Python runs or anything is waited for */
    struct member *idle;     /* the last to become idle comes first: its memory is warm */
    struct queue pending;    /* waits for a thread */
    struct queue outbox;     /* waits for the thread of the server */
    bool stopping;
} pool;

static struct queue coroutines; /* only for the main thread */

bool pool_is_started(void) { return pool.members != NULL; }

/* ---- queues -------------------------------------------------------------------------------------------------------
 */

static void push(struct queue *queue, struct call *call)
{
    call->queued = NULL;
    *(queue->last != NULL ? &queue->last->queued : &queue->first) = call;
    queue->last = call;
}

static struct call *pop(struct queue *queue)
{
    struct call *call = queue->first;
    if (call != NULL) {
        queue->first = call->queued;
        queue->last = queue->first != NULL ? queue->last : NULL;
    }
    return call;
}

static void enter(void) { (void)PyThread_acquire_lock(pool.lock, WAIT_LOCK); }

static void leave(void) { PyThread_release_lock(pool.lock); }

/* Puts a call into the outbox. Returns whether the server must be woken for it: one that has not looked since the last
 * time is awake. Needs the lock. */
static bool post(struct call *call)
{
    bool was_empty = pool.outbox.first == NULL;
    push(&pool.outbox, call);
    return was_empty;
}

/* ---- a thread -----------------------------------------------------------------------------------------------------
 */

/* The next call for `member`, after the one it is through with (may be NULL). NULL at the end. Needs no GIL. */
static struct call *next_call(struct member *member, struct call *done)
{
    enter();
    struct server *server = done != NULL ? done->binding->server : NULL;
    bool wake = done != NULL && post(done);
    struct call *call = pop(&pool.pending);
    bool wait = call == NULL && !pool.stopping;
    if (wait) {
        member->idle = pool.idle;
        pool.idle = member;
    }
    leave();
    if (wake) {
        server_wake(server);
    }
    if (wait) {
        (void)PyThread_acquire_lock(member->wakeup, WAIT_LOCK);
        call = member->call;
        member->call = NULL;
    }
    return call;
}

static void run_call(void *argument)
{
    struct call *call = argument;
    if (call_open(call, call->message, call->size)) {
        PyObject *result = call_function(call);
        switch (result != NULL ? shape_of(result) : SHAPE_VALUE) {
        case SHAPE_VALUE:
            call_settle(call, result);
            break;
        case SHAPE_GENERATOR:
            generator_run(call, result);
            break;
        default:
            (void)active_remove(call); /* this thread has done its part: the loop takes over */
            call->returned = result;
            call->news = NEWS_COROUTINE;
            return;
        }
    }
    call_close(call);
}

/* What a thread does until the end. */
static void serve(struct member *member)
{
    struct call *call = NULL;
    for (;;) {
        PyThreadState *thread = PyEval_SaveThread();
        call = next_call(member, call);
        PyEval_RestoreThread(thread);
        if (call == NULL) {
            return;
        }
        call->place = CALL_THREAD;
        call->member = member;
        call->failure = &member->failure;
        PyObject *scope = scope_run(&member->scope, run_call, call);
        if (call->news == NEWS_COROUTINE) {
            call->context = scope;
        } else {
            Py_XDECREF(scope);
        }
    }
}

/* What a thread of Python's runs. `self` is a capsule of its member. Where gevent or eventlet has put itself in the
 * place of threads it is a greenlet of the main thread, which would stand still in here. */
static PyObject *run_thread(PyObject *self, PyObject *arguments)
{
    (void)arguments;
    struct member *member = PyCapsule_GetPointer(self, NULL);
    member->begun = PyThread_get_thread_ident() == pool.main ? BEGUN_GREEN : BEGUN;
    if (member->begun == BEGUN) {
        serve(member);
    }
    Py_INCREF(Py_None);
    return Py_None;
}

/* What a thread runs that Python did not start. */
static void run_native(void *argument)
{
    struct member *member = argument;
    PyGILState_STATE state = PyGILState_Ensure();
    serve(member);
    PyGILState_Release(state);
    PyThread_release_lock(member->ended);
}

/* Tells the thread of the server something about the call, and waits for the answer. */
static bool tell(struct call *call, enum call_news news, struct view name, struct view json)
{
    call->news = news;
    call->name = name;
    call->json = json;
    PyThreadState *thread = PyEval_SaveThread();
    enter();
    bool wake = post(call);
    leave();
    if (wake) {
        server_wake(call->binding->server);
    }
    (void)PyThread_acquire_lock(call->member->wakeup, WAIT_LOCK);
    PyEval_RestoreThread(thread);
    call->news = NEWS_DONE;
    return !call->lost;
}

bool pool_stream(struct call *call) { return tell(call, NEWS_STREAM, (struct view){0}, (struct view){0}); }

enum sent pool_event(struct call *call, struct view name, struct view json)
{
    return tell(call, NEWS_EVENT, name, json) ? SENT : SENT_GONE;
}

/* ---- the thread of the server -------------------------------------------------------------------------------------
 */

bool pool_submit(struct binding *binding, const struct request *request, size_t limit)
{
    struct call *call = call_keep_request(binding, request, limit);
    if (call == NULL) {
        return false;
    }
    enter();
    struct member *member = pool.idle;
    if (member != NULL) {
        pool.idle = member->idle;
        member->call = call;
    } else {
        push(&pool.pending, call);
    }
    leave();
    if (member != NULL) {
        PyThread_release_lock(member->wakeup);
    }
    return true;
}

/* The call's thread waits for it. */
static void answer(struct call *call, bool lost)
{
    call->unread = false;
    call->lost = lost;
    PyThread_release_lock(call->member->wakeup);
}

static void send_event(struct call *call)
{
    if (!exchange_event(call->conn, call->name, call->json)) {
        answer(call, true);
    } else if (exchange_pending(call->conn) == 0) {
        answer(call, false);
    } else {
        call->unread = true;
    }
}

bool pool_resume(struct call *call)
{
    bool gone = exchange_is_gone(call->conn);
    if (!call->unread) {
        return gone;
    }
    if (gone || exchange_pending(call->conn) == 0) {
        answer(call, gone);
    }
    return false;
}

bool pool_collect(void)
{
    enter();
    struct queue outbox = pool.outbox;
    pool.outbox = (struct queue){0};
    leave();
    struct call *call;
    while ((call = pop(&outbox)) != NULL) {
        switch (call->news) {
        case NEWS_DONE:
            call_send(call);
            break;
        case NEWS_COROUTINE:
            push(&coroutines, call);
            break;
        case NEWS_STREAM:
            answer(call, !exchange_stream(call->conn));
            break;
        case NEWS_EVENT:
            send_event(call);
            break;
        }
    }
    return coroutines.first != NULL;
}

struct call *pool_take_coroutine(void)
{
    struct call *call = pop(&coroutines);
    if (call != NULL) {
        call->failure = &call->binding->failure;
    }
    return call;
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

enum { BEGIN_LOOKS = 500, BEGIN_MS = 10 };

/* Until it is known what kind of thread has begun: join() lets it run, whichever it is. */
static int await_begin(struct member *member)
{
    for (int i = 0; member->begun == NOT_BEGUN && i < BEGIN_LOOKS; i++) {
        PyObject *joined = PyObject_CallMethod(member->thread, "join", "d", BEGIN_MS / 1e3);
        if (joined == NULL) {
            return -1;
        }
        Py_DECREF(joined);
    }
    if (member->begun == NOT_BEGUN) {
        PyErr_SetString(PyExc_RuntimeError, "a thread does not begin to run: is threading patched?");
        return -1;
    }
    return 0;
}

/* One of the operating system's own, which nothing can have patched. */
static int start_native(struct member *member)
{
    Py_CLEAR(member->thread);
    member->ended = PyThread_allocate_lock();
    if (member->ended == NULL) {
        return -1;
    }
    (void)PyThread_acquire_lock(member->ended, NOWAIT_LOCK);
    return PyThread_start_new_thread(run_native, member) != (unsigned long)-1 ? 0 : -1; /* which means: none */
}

static int start_thread(struct member *member, PyObject *threading, uint32_t number)
{
    static PyMethodDef method = {"run", run_thread, METH_NOARGS, NULL};
    PyObject *capsule = PyCapsule_New(member, NULL, NULL);
    PyObject *run = capsule != NULL ? PyCFunction_New(&method, capsule) : NULL;
    PyObject *type = run != NULL ? PyObject_GetAttrString(threading, "Thread") : NULL;
    PyObject *name = type != NULL ? PyUnicode_FromFormat("asya-%u", number) : NULL;
    PyObject *keywords =
        name != NULL ? Py_BuildValue("{s:O,s:O,s:O}", "target", run, "name", name, "daemon", Py_True) : NULL;
    PyObject *none = keywords != NULL ? PyTuple_New(0) : NULL;
    member->thread = none != NULL ? PyObject_Call(type, none, keywords) : NULL;
    PyObject *started = member->thread != NULL ? PyObject_CallMethod(member->thread, "start", NULL) : NULL;
    int status = started != NULL ? await_begin(member) : -1;
    Py_XDECREF(started);
    Py_XDECREF(none);
    Py_XDECREF(keywords);
    Py_XDECREF(name);
    Py_XDECREF(type);
    Py_XDECREF(run);
    Py_XDECREF(capsule);
    return status;
}

int pool_start(struct binding *binding)
{
    PyObject *threading = PyImport_ImportModule("threading");
    if (threading == NULL) {
        return -1;
    }
    pool.main = PyThread_get_thread_ident();
    pool.members = calloc(binding->concurrency, sizeof *pool.members);
    pool.lock = PyThread_allocate_lock();
    int status = pool.members != NULL && pool.lock != NULL ? 0 : -1;
    for (uint32_t i = 0; status == 0 && i < binding->concurrency; i++) {
        struct member *member = &pool.members[i];
        member->wakeup = PyThread_allocate_lock();
        if (member->wakeup == NULL) {
            status = -1;
            break;
        }
        (void)PyThread_acquire_lock(member->wakeup, NOWAIT_LOCK);
        status = scope_open(&member->scope) == 0 ? start_thread(member, threading, i + 1) : -1;
        if (status == 0 && member->begun == BEGUN_GREEN) {
            status = start_native(member);
            if (i == 0) {
                log_info("threads are patched (as gevent does): requests run in the operating system's own");
            }
        }
        pool.count += status == 0;
    }
    if (status != 0 && PyErr_Occurred() == NULL) {
        PyErr_NoMemory();
    }
    Py_DECREF(threading);
    return status;
}

static void join(struct member *member)
{
    if (member->thread == NULL) {
        PyThreadState *thread = PyEval_SaveThread();
        (void)PyThread_acquire_lock(member->ended, WAIT_LOCK);
        PyEval_RestoreThread(thread);
        return;
    }
    PyObject *joined = PyObject_CallMethod(member->thread, "join", NULL);
    if (joined == NULL) {
        PyErr_WriteUnraisable(member->thread);
    }
    Py_XDECREF(joined);
}

void pool_stop(void)
{
    if (pool.members == NULL) {
        return;
    }
    enter();
    pool.stopping = true;
    struct member *idle = pool.idle;
    pool.idle = NULL;
    leave();
    while (idle != NULL) {
        struct member *next = idle->idle;
        PyThread_release_lock(idle->wakeup);
        idle = next;
    }
    for (uint32_t i = 0; i < pool.count; i++) {
        join(&pool.members[i]);
    }
}
