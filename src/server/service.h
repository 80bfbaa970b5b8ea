/*
 * What the server needs from the part that computes replies: the Python binding, or an echo in tests and benchmarks.
 *
 *   answer() -> SERVICE_DONE                         the reply is there: a plain function, called at once
 *   answer() -> SERVICE_LATER ... exchange_reply()   later: by a task of an event loop, or by a thread that has
 *                                                    called server_wake()
 *
 * All calls come from the thread that runs the server.
 */
#ifndef ASYA_SERVER_SERVICE_H
#define ASYA_SERVER_SERVICE_H

#include "base/buffer.h"
#include "base/view.h"
#include "server/scoreboard.h"
#include "wire/protocol.h"

#include <stdbool.h>

struct conn;

/* One complete request. The message and the views are borrowed until answer() returns. */
struct request {
    const unsigned char *message; /* JSON text: the bare value, or the body behind the length prefix or HTTP head */
    size_t size;
    enum protocol protocol;       /* PROTOCOL_RAW, PROTOCOL_FRAMED or PROTOCOL_HTTP */
    struct view id;               /* X-Request-ID of an HTTP request; empty if there is none */
    struct view traceparent;      /* W3C Trace Context, likewise; valid, or empty */
    struct view tracestate;       /* likewise; only with a traceparent */
    uint64_t sequence;            /* number of the request in this worker, from 1 */
    struct scoreboard_slot *slot; /* where a cancellation is written; NULL: there is no supervisor */
    struct conn *conn;            /* names the request to server/exchange.h */
};

/* A reply without its length prefix or HTTP head, which the server writes. */
struct reply {
    struct buffer body; /* JSON text. Empty with status 204; otherwise empty means that there was no memory for it */
    uint32_t status;    /* HTTP status: 200, 204, 400, 500 ...; not used by other protocols */
    bool succeeded;     /* false: an error reply */
};

enum service_status { SERVICE_DONE, SERVICE_LATER };

struct service {
    void *context;

    /* Computes the reply to one message. SERVICE_DONE: `reply` is filled; its body was empty before, and its limit
     * bounds it. SERVICE_LATER: exchange_reply() or a stream will follow, and `reply` is not used. The service logs its
     * own failures. */
    enum service_status (*answer)(void *context, const struct request *request, struct reply *reply);

    /* A signal interrupted the wait for connections. May be NULL. */
    void (*interrupted)(void *context);

    /* server_wake() was called, once or more often. May be NULL if it is never called. */
    void (*collect)(void *context);

    /* Does what is due between two requests, as a health check. Returns when to call it again. May be NULL. */
    uint64_t (*tend)(void *context, uint64_t now);

    /* The client of a stream has taken all that was sent to it, or is gone (see exchange_is_gone()). May be NULL if no
     * stream goes on after answer() has returned. */
    void (*resume)(void *context, struct conn *conn);
};

#endif
