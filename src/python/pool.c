#include "python/pool.h"

#include "python/active.h"
#include "python/generator.h"
#include "python/shape.h"

#include <pythread.h>
#include <stdlib.h>

enum news { NEWS_NONE, NEWS_STREAM, NEWS_EVENT };

/* One thread. */
struct member {
    PyThread_type_lock wakeup; /* held while there is nothing to wake up for */
    struct member *idle;       /* the next idle one */
    struct call *call;         /* given to it */
    PyObject *thread;          /* owned */
    /* what it has to say about its call, while it waits for the answer in `sent` */
    enum news news;
    struct view name;
    struct view json;
    enum sent sent;
    bool unread; /* the event is sent, and the client has not taken it yet */
    struct failure failure;
};

struct queue {
    struct call *first;
    struct call *last;
};

static struct {
    struct member *members; /* `count` of them */
    uint32_t count;
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

static void run_call(struct member *member, struct call *call)
{
    call->place = CALL_THREAD;
    call->member = member;
    call->failure = &member->failure;
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
            return;
        }
    }
    call_close(call);
}

/* What a thread does. `self` is a capsule of its member. */
static PyObject *run_thread(PyObject *self, PyObject *arguments)
{
    (void)arguments;
    struct member *member = PyCapsule_GetPointer(self, NULL);
    struct call *call = NULL;
    for (;;) {
        PyThreadState *thread = PyEval_SaveThread();
        call = next_call(member, call);
        PyEval_RestoreThread(thread);
        if (call == NULL) {
            Py_RETURN_NONE;
        }
        run_call(member, call);
    }
}

/* Tells the thread of the server something about the call, and waits for the answer. */
static enum sent tell(struct call *call, enum news news, struct view name, struct view json)
{
    struct member *member = call->member;
    member->news = news;
    member->name = name;
    member->json = json;
    PyThreadState *thread = PyEval_SaveThread();
    enter();
    bool wake = post(call);
    leave();
    if (wake) {
        server_wake(call->binding->server);
    }
    (void)PyThread_acquire_lock(member->wakeup, WAIT_LOCK);
    PyEval_RestoreThread(thread);
    return member->sent;
}

bool pool_stream(struct call *call) { return tell(call, NEWS_STREAM, (struct view){0}, (struct view){0}) == SENT; }

enum sent pool_event(struct call *call, struct view name, struct view json)
{
    return tell(call, NEWS_EVENT, name, json);
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

static void answer(struct member *member, enum sent sent)
{
    member->unread = false;
    member->sent = sent;
    PyThread_release_lock(member->wakeup);
}

/* A thread waits for the answer. */
static void hear(struct call *call)
{
    struct member *member = call->member;
    enum news news = member->news;
    member->news = NEWS_NONE;
    if (news == NEWS_STREAM) {
        answer(member, exchange_stream(call->conn) ? SENT : SENT_GONE);
    } else if (!exchange_event(call->conn, member->name, member->json)) {
        answer(member, SENT_GONE);
    } else if (exchange_pending(call->conn) == 0) {
        answer(member, SENT);
    } else {
        member->unread = true;
    }
}

bool pool_resume(struct call *call)
{
    struct member *member = call->member;
    bool gone = exchange_is_gone(call->conn);
    if (member == NULL || !member->unread) {
        return gone;
    }
    if (gone || exchange_pending(call->conn) == 0) {
        answer(member, gone ? SENT_GONE : SENT);
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
        if (call->member->news != NEWS_NONE) {
            hear(call);
        } else if (call->returned != NULL) {
            push(&coroutines, call);
        } else {
            call_send(call);
        }
    }
    return coroutines.first != NULL;
}

struct call *pool_take_coroutine(void)
{
    struct call *call = pop(&coroutines);
    if (call != NULL) {
        call->member = NULL;
        call->failure = &call->binding->failure;
    }
    return call;
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

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
    int status = started != NULL ? 0 : -1;
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
        status = start_thread(member, threading, i + 1);
        pool.count += status == 0;
    }
    if (status != 0 && PyErr_Occurred() == NULL) {
        PyErr_NoMemory();
    }
    Py_DECREF(threading);
    return status;
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
        PyObject *joined = PyObject_CallMethod(pool.members[i].thread, "join", NULL);
        if (joined == NULL) {
            PyErr_WriteUnraisable(pool.members[i].thread);
        }
        Py_XDECREF(joined);
    }
}
