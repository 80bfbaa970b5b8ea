#include "python/pool.h"

#include "base/log.h"
#include "python/active.h"
#include "python/invoke.h"
#include "python/object.h"

#include <pythread.h>
#include <stdlib.h>

/*
 * A job belongs to one thread at a time, which may use it without the lock. It changes hands in
 * these places, all under pool.lock or by the lock a thread sleeps on:
 *
 *   pool_submit       server -> a thread: given to an idle one, or left in `pending` until one is through
 *   pool_next_job     the thread is through -> outbox -> server, which sends the reply and frees it (NEWS_DONE), or
 *                     gives the coroutine to the loop (NEWS_COROUTINE)
 *   pool_tell         the thread has something to say before that: it begins a stream, or sends an event (NEWS_STREAM,
 *                     NEWS_EVENT). The job goes through the outbox as well, and the thread sleeps on its `wakeup`
 *                     until pool_answer: at once, or, if the client is slow, from pool_resume
 *
 * `unread` is the server's at all times: it says whether a thread waits for a slow client.
 *
 * The server is woken only for a job put into an empty outbox: until it has emptied that, it is awake for all of them.
 */

struct pool_job;

/* One thread. */
struct pool_member {
    PyThread_type_lock wakeup; /* held while there is nothing to wake up for */
    struct pool_member *idle;  /* the next idle one */
    struct pool_job *job;      /* given to it */
    PyObject *thread;          /* owned; NULL for one that Python did not start */
    PyThread_type_lock ended;  /* held by such a one until it ends */
    enum begun { NOT_BEGUN, BEGUN, BEGUN_GREEN } begun;
    struct scope scope;
    struct failure failure;
};

/* A call that a thread runs. */
struct pool_job {
    struct call call;
    struct pool_member *member;
    struct pool_job *queued; /* the next in a queue */
    /* What the thread has to say to the server; of a stream and an event it waits for the answer. */
    enum pool_news { NEWS_DONE, NEWS_COROUTINE, NEWS_STREAM, NEWS_EVENT } news;
    PyObject *returned; /* NEWS_COROUTINE: owned; what the function has returned for the loop to run */
    PyObject *context;  /* likewise: in which it has returned that, or NULL */
    struct view name;   /* NEWS_EVENT */
    struct view json;
    bool unread; /* the event is sent, and the client has not taken it yet */
    bool lost;   /* the answer to that: the client is gone */
};

struct pool_queue {
    struct pool_job *first;
    struct pool_job *last;
};

static struct {
    struct pool_member *members; /* `count` of them */
    uint32_t count;
    unsigned long main;        /* the main thread, as PyThread_get_thread_ident() has it */
    PyThread_type_lock lock;   /* of all that follows; never held while Python runs or anything is waited for */
    struct pool_member *idle;  /* the last to become idle comes first: its memory is warm */
    struct pool_queue pending; /* waits for a thread */
    struct pool_queue outbox;  /* waits for the thread of the server */
    bool stopping;
} pool;

static struct pool_queue coroutines; /* only for the main thread */

bool pool_is_started(void) { return pool.members != NULL; }

static struct pool_job *pool_job_of(struct call *call) { return (struct pool_job *)call; }

/* ---- queues -------------------------------------------------------------------------------------------------------
 */

static void pool_push(struct pool_queue *queue, struct pool_job *job)
{
    job->queued = NULL;
    *(queue->last != NULL ? &queue->last->queued : &queue->first) = job;
    queue->last = job;
}

static struct pool_job *pool_pop(struct pool_queue *queue)
{
    struct pool_job *job = queue->first;
    if (job != NULL) {
        queue->first = job->queued;
        queue->last = queue->first != NULL ? queue->last : NULL;
    }
    return job;
}

static void pool_enter(void) { (void)PyThread_acquire_lock(pool.lock, WAIT_LOCK); }

static void pool_leave(void) { PyThread_release_lock(pool.lock); }

/* Puts a job into the outbox. Returns whether the server must be woken for it. Needs the lock. */
static bool pool_post(struct pool_job *job)
{
    bool was_empty = pool.outbox.first == NULL;
    pool_push(&pool.outbox, job);
    return was_empty;
}

/* ---- a thread: who runs a call ------------------------------------------------------------------------------------
 */

/* Tells the thread of the server something about the job, and waits for the answer. */
static bool pool_tell(struct pool_job *job, enum pool_news news)
{
    job->news = news;
    PyThreadState *thread = PyEval_SaveThread();
    pool_enter();
    bool wake = pool_post(job);
    pool_leave();
    if (wake) {
        server_wake(job->call.binding->server);
    }
    (void)PyThread_acquire_lock(job->member->wakeup, WAIT_LOCK);
    PyEval_RestoreThread(thread);
    job->news = NEWS_DONE;
    return !job->lost;
}

static bool pool_open(struct call *call) { return pool_tell(pool_job_of(call), NEWS_STREAM); }

static enum sent pool_send(struct call *call, struct view name, struct view json)
{
    struct pool_job *job = pool_job_of(call);
    job->name = name;
    job->json = json;
    return pool_tell(job, NEWS_EVENT) ? SENT : SENT_GONE;
}

/* Asynchronously: the thread comes to it between two bytecodes, which may be after the function's end. */
static bool pool_cancel(const struct call *call, PyObject *class)
{
    (void)PyThreadState_SetAsyncExc(call->thread, class);
    return true;
}

static void pool_take_back(const struct call *call) { (void)PyThreadState_SetAsyncExc(call->thread, NULL); }

static void pool_answer(struct pool_job *job, bool lost)
{
    job->unread = false;
    job->lost = lost;
    PyThread_release_lock(job->member->wakeup);
}

/* A thread that waits for its client gets its answer. The function of one that does not is told if the client is
 * gone. */
static void pool_resume(struct call *call)
{
    struct pool_job *job = pool_job_of(call);
    bool gone = exchange_is_gone(call->conn);
    if (job->unread && (gone || exchange_pending(call->conn) == 0)) {
        pool_answer(job, gone);
    } else if (!job->unread && gone) {
        PyEval_RestoreThread(call->binding->thread);
        active_tell_gone(call);
        call->binding->thread = PyEval_SaveThread();
    }
}

static const struct runner pool_runner = {
    .cancel = pool_cancel, .take_back = pool_take_back, .open = pool_open, .send = pool_send, .resume = pool_resume};

/* ---- a thread: its life -------------------------------------------------------------------------------------------
 */

/* Hands in the job that `member` has done (NULL for none) and waits for the next one. NULL at the end. Needs no GIL. */
static struct pool_job *pool_next_job(struct pool_member *member, struct pool_job *done)
{
    pool_enter();
    struct server *server = done != NULL ? done->call.binding->server : NULL;
    bool wake = done != NULL && pool_post(done);
    struct pool_job *job = pool_pop(&pool.pending);
    bool wait = job == NULL && !pool.stopping;
    if (wait) {
        member->idle = pool.idle;
        pool.idle = member;
    }
    pool_leave();
    if (wake) {
        server_wake(server);
    }
    if (wait) {
        (void)PyThread_acquire_lock(member->wakeup, WAIT_LOCK);
        job = member->job;
        member->job = NULL;
    }
    return job;
}

static void pool_run_job(void *argument)
{
    struct pool_job *job = argument;
    if (!invoke_run(&job->call, &job->returned)) {
        (void)active_remove(&job->call); /* this thread has done its part: the loop takes over */
        job->news = NEWS_COROUTINE;
    }
}

/* What a thread does until the end. */
static void pool_serve(struct pool_member *member)
{
    struct pool_job *job = NULL;
    for (;;) {
        PyThreadState *thread = PyEval_SaveThread();
        job = pool_next_job(member, job);
        PyEval_RestoreThread(thread);
        if (job == NULL) {
            return;
        }
        job->member = member;
        job->call.failure = &member->failure;
        PyObject *scope = scope_run(&member->scope, pool_run_job, job);
        if (job->news == NEWS_COROUTINE) {
            job->context = scope;
        } else {
            Py_XDECREF(scope);
        }
    }
}

/* What a thread of Python's runs. `self` is a capsule of its member. With threads patched by gevent or eventlet this
 * is a greenlet in the main thread, which must not wait here. */
static PyObject *pool_run_thread(PyObject *self, PyObject *arguments)
{
    (void)arguments;
    struct pool_member *member = PyCapsule_GetPointer(self, NULL);
    member->begun = PyThread_get_thread_ident() == pool.main ? BEGUN_GREEN : BEGUN;
    if (member->begun == BEGUN) {
        pool_serve(member);
    }
    return object_none();
}

/* What a thread runs that Python did not start. */
static void pool_run_native(void *argument)
{
    struct pool_member *member = argument;
    PyGILState_STATE state = PyGILState_Ensure();
    pool_serve(member);
    PyGILState_Release(state);
    PyThread_release_lock(member->ended);
}

/* ---- the thread of the server -------------------------------------------------------------------------------------
 */

bool pool_submit(struct binding *binding, const struct request *request, size_t limit)
{
    struct pool_job *job = call_keep_request(sizeof *job, &pool_runner, binding, request, limit);
    if (job == NULL) {
        return false;
    }
    pool_enter();
    struct pool_member *member = pool.idle;
    if (member != NULL) {
        pool.idle = member->idle;
        member->job = job;
    } else {
        pool_push(&pool.pending, job);
    }
    pool_leave();
    if (member != NULL) {
        PyThread_release_lock(member->wakeup);
    }
    return true;
}

static void pool_send_event(struct pool_job *job)
{
    struct conn *conn = job->call.conn;
    if (!exchange_event(conn, job->name, job->json)) {
        pool_answer(job, true);
    } else if (exchange_pending(conn) == 0) {
        pool_answer(job, false);
    } else {
        job->unread = true;
    }
}

bool pool_collect(void)
{
    pool_enter();
    struct pool_queue outbox = pool.outbox;
    pool.outbox = (struct pool_queue){0};
    pool_leave();
    struct pool_job *job;
    while ((job = pool_pop(&outbox)) != NULL) {
        switch (job->news) {
        case NEWS_DONE:
            call_send(&job->call);
            break;
        case NEWS_COROUTINE:
            pool_push(&coroutines, job);
            break;
        case NEWS_STREAM:
            pool_answer(job, !exchange_stream(job->call.conn));
            break;
        case NEWS_EVENT:
            pool_send_event(job);
            break;
        }
    }
    return coroutines.first != NULL;
}

struct call *pool_take_coroutine(PyObject **ret_thing, PyObject **ret_context)
{
    struct pool_job *job = pool_pop(&coroutines);
    if (job == NULL) {
        return NULL;
    }
    *ret_thing = job->returned;
    *ret_context = job->context;
    job->call.failure = &job->call.binding->failure;
    return &job->call;
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

enum { BEGIN_LOOKS = 500, BEGIN_MS = 10 };

/* Waits until the thread has said of which kind it is. By join(), which lets greenlets run as well. */
static int pool_await_begin(struct pool_member *member)
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
static int pool_start_native(struct pool_member *member)
{
    Py_CLEAR(member->thread);
    member->ended = PyThread_allocate_lock();
    if (member->ended == NULL) {
        return -1;
    }
    (void)PyThread_acquire_lock(member->ended, NOWAIT_LOCK);
    return PyThread_start_new_thread(pool_run_native, member) != (unsigned long)-1 ? 0 : -1; /* which means: none */
}

static int pool_start_thread(struct pool_member *member, PyObject *threading, uint32_t number)
{
    static PyMethodDef method = {"run", pool_run_thread, METH_NOARGS, NULL};
    PyObject *capsule = PyCapsule_New(member, NULL, NULL);
    PyObject *run = capsule != NULL ? PyCFunction_New(&method, capsule) : NULL;
    PyObject *type = run != NULL ? PyObject_GetAttrString(threading, "Thread") : NULL;
    PyObject *name = type != NULL ? PyUnicode_FromFormat("asya-%u", number) : NULL;
    PyObject *keywords =
        name != NULL ? Py_BuildValue("{s:O,s:O,s:O}", "target", run, "name", name, "daemon", Py_True) : NULL;
    PyObject *none = keywords != NULL ? PyTuple_New(0) : NULL;
    member->thread = none != NULL ? PyObject_Call(type, none, keywords) : NULL;
    PyObject *started = member->thread != NULL ? PyObject_CallMethod(member->thread, "start", NULL) : NULL;
    int status = started != NULL ? pool_await_begin(member) : -1;
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
        struct pool_member *member = &pool.members[i];
        member->wakeup = PyThread_allocate_lock();
        if (member->wakeup == NULL) {
            status = -1;
            break;
        }
        (void)PyThread_acquire_lock(member->wakeup, NOWAIT_LOCK);
        status = scope_open(&member->scope) == 0 ? pool_start_thread(member, threading, i + 1) : -1;
        if (status == 0 && member->begun == BEGUN_GREEN) {
            status = pool_start_native(member);
            if (i == 0) {
                log_info(EVENT_SETTING_DERIVED,
                         "threads are patched (as gevent does): requests run in the operating system's own");
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

static void pool_join(struct pool_member *member)
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
    pool_enter();
    pool.stopping = true;
    struct pool_member *idle = pool.idle;
    pool.idle = NULL;
    pool_leave();
    while (idle != NULL) {
        struct pool_member *next = idle->idle;
        PyThread_release_lock(idle->wakeup);
        idle = next;
    }
    for (uint32_t i = 0; i < pool.count; i++) {
        pool_join(&pool.members[i]);
    }
}
