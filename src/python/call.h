/*
 * One request on its way through the user's function.
 *
 *   call_open      bytes -> message -> envelope -> payload, validated
 *   call_function  the user's code; cancellable from here to call_settle
 *   call_settle    a plain result, or the exception that is set -> reply
 *
 * A generator goes on to python/generator.h, a coroutine to python/loop.h. A call lives on the stack of whoever runs
 * it, or, once its reply is to come later, in memory of its own (call_keep).
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_CALL_H
#define ASYA_PYTHON_CALL_H

#include "python/envelope.h"
#include "python/failure.h"
#include "python/scope.h"
#include "server/exchange.h"
#include "server/server.h"
#include "server/service.h"

#include <sys/types.h>

/* Who runs the function: that decides how it is cancelled and how its events are sent. */
enum call_place {
    CALL_INLINE, /* the main thread, within service->answer() */
    CALL_TASK,   /* the main thread, as a task of the event loop */
    CALL_THREAD, /* a thread of the pool */
};

/* What all calls of a worker share. */
struct binding {
    PyObject *function;       /* owned; NULL for the echo function */
    PyObject *converter;      /* owned: payload -> typed payload (python/typed.h); NULL: as it is */
    struct server *server;    /* while serving */
    struct scoreboard *board; /* where requests are named; NULL: nobody watches */
    PyThreadState *thread;    /* the main thread's, while the GIL is released */
    uint64_t timeout;         /* ASYA_HANDLER_TIMEOUT in ns */
    uint32_t concurrency;     /* ASYA_CONCURRENCY */
    bool validate;            /* ASYA_ENABLE_VALIDATION */
    bool is_async;            /* the function is declared `async` */
    bool whole;               /* ASYA_HANDLER_MODE=envelope: the function gets the message, not the payload */
    struct failure failure;   /* of calls in the main thread; memory reserved beforehand */
    struct scope scope;       /* theirs, too */
};

struct handle;
struct member;

struct call {
    struct binding *binding;
    struct conn *conn;
    struct scoreboard_slot *slot;
    uint64_t sequence;
    enum protocol protocol;
    enum call_place place;
    struct view id; /* X-Request-ID and traceparent of an HTTP request; borrowed, or in `names` */
    struct view traceparent;
    struct envelope envelope;
    struct reply *reply;     /* where the reply goes: the server's, or `own` */
    struct failure *failure; /* scratch of whoever runs this call */
    struct handle *handle;   /* what asya_runtime.context() returned (python/context.h), or NULL */
    size_t frames;           /* a generator has given so many */
    bool streaming;          /* its frames go out as events */
    bool gone;               /* nobody reads them any more */

    /* python/active.h: calls whose function runs */
    struct call *previous;
    struct call *next;
    unsigned long thread; /* PyThread_get_thread_ident() of who runs it */
    bool active;
    bool told; /* that it is cancelled */

    /* kept calls only */
    bool kept;
    bool answering; /* service->answer() has not returned yet: then the reply is its own */
    bool ended;     /* and is complete */
    struct reply own;
    char *names;
    PyObject *task;         /* CALL_TASK: owned; NULL while its first step runs */
    PyObject *waiter;       /* CALL_TASK: owned future, while the client is slower than the stream */
    unsigned char *message; /* CALL_THREAD: a copy; and what its function has returned for the loop to run */
    size_t size;
    PyObject *returned;
    PyObject *context; /* CALL_THREAD: owned; in which it has returned that */
    struct member *member;
    /* what its thread has to say to the thread of the server (python/pool.c); an event, while it waits for the answer
     */
    enum call_news { NEWS_DONE, NEWS_COROUTINE, NEWS_STREAM, NEWS_EVENT } news;
    struct view name;
    struct view json;
    bool unread;         /* the event is sent, and the client has not taken it yet */
    bool lost;           /* the answer: nobody reads it */
    struct call *queued; /* the next in a queue of the pool */
};

/* A call of `request`, not yet opened. Borrows all of it. */
void call_make(struct call *call, struct binding *binding, const struct request *request, struct reply *reply);

/* Decodes and validates. False: the reply is the refusal. */
bool call_open(struct call *call, const unsigned char *message, size_t size);

/* Calls the function. New reference, or NULL with the exception set. Begins what call_end_function ends. */
PyObject *call_function(struct call *call);

/* The user's code has ended, with `result` (taken over) or, if that is NULL, with the exception that is set, or with
 * `err` unless its category is ERR_NONE, or for nobody. False if the call has not succeeded: the failure is the reply,
 * or an event of the stream. Else `*ret_result` is to be written. */
bool call_end_function(struct call *call, PyObject *result, const struct error *err, PyObject **ret_result);

/* call_end_function, then the plain result into the reply. */
void call_settle(struct call *call, PyObject *result);

/* The exception that is set, or an error of the runtime's own, becomes the reply or an `error` event. */
void call_fail(struct call *call, bool before_call);
void call_fail_error(struct call *call, const struct error *err, bool before_call);

/* Ends the process if the function has forked and returned twice: only one of the two may answer. */
void call_check_fork(void);

/* A copy in memory of its own, whose reply goes out later; the former is empty then, and the reply's buffer goes along.
 * NULL if there is no memory. */
struct call *call_keep(struct call *call);

/* A new call that is kept from the start, with a copy of its message. Needs no GIL. NULL if there is no memory. */
struct call *call_keep_request(struct binding *binding, const struct request *request, size_t limit);

/* Releases the objects the call holds. */
void call_close(struct call *call);

/* Sends the reply of a kept call, or ends its stream, and frees it. Only in the thread of the server, and without the
 * GIL: the next request may be answered within. */
void call_send(struct call *call);

/* Frees a kept call whose reply is taken from it. */
void call_free(struct call *call);

/* Whom a log line is about. Borrows from the call. */
struct log_request call_about(const struct call *call);

#endif
