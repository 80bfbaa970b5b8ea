/*
 * One request on its way through the user's function, and who runs that function.
 *
 *   python/invoke.h    bytes -> message -> payload; the user's code; then what its result's shape asks for
 *   python/outcome.h   a value, an exception, or being cancelled -> the reply
 *   python/loop.h      takes over what has to be awaited
 *
 * A call lives on the stack of the thread that runs it. If its reply is to come later it lives in memory of its own, as
 * the first member of what its runner knows beside it: struct pool_job, struct loop_task.
 *
 * All other files that work on calls include this one, so it must not call them. Needs the GIL unless said otherwise.
 */
#ifndef ASYA_PYTHON_CALL_H
#define ASYA_PYTHON_CALL_H

#include "python/envelope.h"
#include "python/failure.h"
#include "python/scope.h"
#include "server/exchange.h"
#include "server/server.h"
#include "server/service.h"

/* What all calls of a worker share. */
struct binding {
    PyObject *function;       /* owned; NULL for the echo function */
    PyObject *converter;      /* owned: payload -> typed payload (python/typed.h); NULL: as it is */
    struct server *server;    /* while serving */
    struct scoreboard *board; /* where a request's id is noted for the supervisor; NULL: nobody watches */
    PyThreadState *thread;    /* the main thread's, while the GIL is released */
    uint64_t timeout;         /* ASYA_HANDLER_TIMEOUT in ns */
    uint32_t concurrency;     /* ASYA_CONCURRENCY */
    bool validate;            /* ASYA_ENABLE_VALIDATION */
    bool is_async;            /* the function is declared `async` */
    bool whole;               /* ASYA_HANDLER_MODE=envelope: the function gets the message, not the payload */
    bool is_short;            /* ASYA_GENERATION=0.5.1: over HTTP no streams, and whole messages, too */
    struct failure failure;   /* of calls in the main thread; memory reserved beforehand */
    struct scope scope;       /* likewise */
};

/* What became of an event. */
enum sent {
    SENT,
    SENT_PENDING, /* the client has not taken it yet, and the task waits by itself */
    SENT_GONE,    /* nobody reads any more */
    SENT_RAISED,  /* a cancellation while it waited: the exception is set */
};

struct call;

/* Who runs a call's function decides how the function is told to stop, and how its events are sent. There are three:
 * stream_inline (the main thread, within service->answer()), pool_runner (a thread) and loop_runner (a task of the
 * event loop in the main thread). A call changes its runner once at most: when its function has returned a coroutine,
 * the loop takes it over. */
struct runner {
    /* Makes `class` be raised in the function. False if this thread is running the function right now: then the caller
     * raises it. */
    bool (*cancel)(const struct call *call, PyObject *class);
    /* Withdraws the exception if it has not been raised yet. NULL if cancel() raises at once. */
    void (*take_back)(const struct call *call);
    /* Whether a cancelled function may also end with `class`, as tasks do with asyncio's CancelledError. NULL: no. */
    bool (*is_cancelled)(PyObject *class);
    /* The task that runs the function: borrowed, and NULL during its first step. Where this member is NULL there are
     * no tasks: the function has its thread to itself. */
    PyObject *(*task)(const struct call *call);
    /* Begins a stream of events. False if the client is gone. */
    bool (*open)(struct call *call);
    /* Sends an event and waits until the client has taken it; in a task, returns SENT_PENDING instead of waiting. */
    enum sent (*send)(struct call *call, struct view name, struct view json);
    /* The client of this call has taken its events, or is gone. In the thread of the server, without the GIL. */
    void (*resume)(struct call *call);
};

struct call {
    const struct runner *runner;
    struct binding *binding;
    struct conn *conn;
    struct scoreboard_slot *slot;
    uint64_t sequence;
    enum protocol protocol;
    const unsigned char *message; /* borrowed from the request; of a kept call a copy, behind it */
    size_t size;
    struct log_request
        transport; /* X-Request-ID, traceparent and tracestate of an HTTP request; borrowed, or in `names` */
    struct envelope envelope;
    struct reply *reply;     /* where the reply goes: the server's, or `own` */
    struct failure *failure; /* memory to describe a failure in; it belongs to the thread that runs this call */
    PyObject *handle;        /* what asya_runtime.context() returned (python/context.h), or NULL */
    size_t streamed;         /* bytes of the events of a stream */
    PyObject *raised;        /* owned; by code of an object in the result, which could not be written for it */
    PyObject *span;          /* owned; NULL: none is made (python/spans.h) */
    size_t frames;           /* a generator has given so many */
    bool streaming;          /* its frames go out as events */
    bool gone;               /* nobody reads them any more */

    /* python/active.h: calls whose function runs */
    bool active;
    bool told;            /* that it is cancelled */
    unsigned long thread; /* PyThread_get_thread_ident() of who runs it */
    struct call *previous;
    struct call *next;

    /* kept calls only */
    struct reply own;
    char *names;
};

/* When the supervisor stops the function, by clock_now(). */
static inline struct scoreboard_limit call_limit(const struct call *call)
{
    struct scoreboard_slot *slot = call->slot;
    if (slot == NULL) {
        return (struct scoreboard_limit){.at = CLOCK_NEVER};
    }
    return scoreboard_limit(atomic_load_explicit(&slot->since, memory_order_relaxed), call->binding->timeout,
                            atomic_load_explicit(&slot->deadline, memory_order_relaxed));
}

/* Makes a call for `request`, which is borrowed; its message is not decoded yet. Needs no GIL. */
void call_make(struct call *call, const struct runner *runner, struct binding *binding, const struct request *request,
               struct reply *reply);

/* Moves what a call has, and its reply's buffer, to `kept`, which begins memory of its own (malloc) and outlives the
 * request. False if there is no memory: then nothing has moved. Needs no GIL. */
bool call_keep(struct call *call, struct call *kept);

/* A new call that is kept from the start: in `size` bytes, of which it is the first member, with a copy of its message
 * behind them. NULL if there is no memory. Needs no GIL. */
void *call_keep_request(size_t size, const struct runner *runner, struct binding *binding,
                        const struct request *request, size_t limit);

/* Sends the reply of a kept call, or ends its stream, and frees it. Only in the thread of the server, and without the
 * GIL: the next request may be answered within. */
void call_send(struct call *call);

/* Frees a kept call whose reply is taken from it. */
void call_free(struct call *call);

#endif
