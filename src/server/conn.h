/*
 * One connection, from accept to close.
 *
 *   accept -> READING -> complete -> capacity? -no-> QUEUED
 *              ^  |                      | yes         | another request ended
 *              |  |                      v             v
 *              |  |                  the service: done at once, or RUNNING until exchange_reply()
 *              |  |                      |                  \ exchange_stream() -> STREAMING <-> FLUSHING
 *              |  +-- refused            v                                              |
 *              |         \---------> reply written? -no-> WRITING                       |
 *              |                         | yes              |                           |
 *              +--- keep-alive ----------+------------------+---------------------------+
 *                                        | else
 *                                        v
 *          closed <---- nothing left to read ---- DRAINING (only after a refusal)
 *
 * REJECTING is READING once no JSON value can come of it: one more second for the end of the input, then the refusal.
 * YIELDING is READING for whom others come first: many requests in a row have come on this connection.
 * READING has ASYA_READ_TIMEOUT for the whole request, WRITING has ASYA_WRITE_TIMEOUT for what is to be written, and
 * FLUSHING has it for the whole stream: the times in which the client was waited for add up, since a function that is
 * made to wait keeps its place from all others. DRAINING discards what a client still sends, so that it gets to read
 * its refusal, within bounds of time and bytes.
 *
 * A connection whose request arrives in one piece never enters the epoll set: accept, read, answer, write, close.
 *
 * While a worker has no room for one more, the oldest in READING give way (server/room.h).
 *
 * READING may pause for want of memory (server/budget.h).
 *
 * Files: conn (life, deadlines, events), slot (fdstore, status), intake (bytes to requests), http (heads and routes),
 * output (replies to bytes), exchange (what the service does later).
 */
#ifndef ASYA_SERVER_CONN_H
#define ASYA_SERVER_CONN_H

#include "base/buffer.h"
#include "base/error.h"
#include "server/fdstore.h"
#include "server/scoreboard.h"
#include "server/service.h"
#include "server/tampered.h"
#include "wire/http1_chunked.h"
#include "wire/http1_request.h"
#include "wire/http1_response.h"
#include "wire/protocol.h"
#include "wire/raw.h"

#include <stdint.h>

enum conn_state {
    CONN_READING,
    CONN_REJECTING,
    CONN_YIELDING,
    CONN_QUEUED,
    CONN_RUNNING,
    CONN_STREAMING,
    CONN_FLUSHING,
    CONN_WRITING,
    CONN_DRAINING,
    CONN_STATES
};

/* Where an HTTP request stands. */
struct conn_http {
    struct http1_request request;
    struct http1_chunked chunked;
    bool has_head;
};

struct conn {
    struct conn_host *host;
    int fd;        /* -1 once closed; the struct lives until the end of the round of events */
    uint32_t slot; /* its place on the scoreboard; or NO_SLOT */
    enum conn_state state;
    uint32_t events; /* epoll events it is registered for; 0: not in the set */
    enum protocol protocol;
    bool peer_done;      /* the client sends no more */
    bool handed_on;      /* its duplicate goes to another worker: it is closed here, and lives on */
    bool refused;        /* answered before its request was taken whole: drain before closing */
    bool keep_alive;     /* another request may follow the reply */
    bool parting;        /* none may, since nothing more is let in */
    bool gone;           /* a stream's client is gone */
    bool stream_is_over; /* what is left of a stream is only to be sent */
    bool paused;         /* not read on, for want of memory (server/budget.h) */
    enum slot_then then; /* what it is once all that is to be sent is out */
    uint32_t served;     /* requests answered on it before this one */
    size_t seen;         /* bytes of this request that have arrived */
    union {
        struct raw raw;
        struct conn_http http;
    };
    struct buffer in;      /* the request so far; bounded by INTAKE_LIMIT */
    size_t body_at;        /* in `in`, once complete: the JSON text */
    size_t body_size;      /* its bytes */
    size_t request_end;    /* in `in`: where the next request begins */
    size_t sent;           /* of head and `out` together */
    size_t drained;        /* bytes discarded */
    struct buffer out;     /* the reply; bounded by REPLY_LIMIT */
    size_t counted;        /* of both buffers, in host->held */
    size_t moved;          /* bytes that have come since moved_at, of a large request */
    uint64_t moved_at;     /* when enough of it had come last, or its pause has ended; 0: not large yet */
    uint64_t paused_at;    /* of the first pause of this request; 0: there was none */
    uint64_t sequence;     /* of the request the service has */
    uint64_t deadline;     /* of the state */
    uint64_t waited;       /* ns that the client of a stream was waited for, before this state */
    void *data;            /* the service's own */
    struct conn *previous; /* in the list of its state, oldest deadline first */
    struct conn *next;
    uint32_t head_size;             /* bytes of `head` */
    char head[HTTP1_RESPONSE_SIZE]; /* what stands before the body: HTTP head or length prefix; last, never cleared */
};

#define NO_SLOT UINT32_MAX

/* Bytes a connection's input may take: the message, the head or prefix before it, and one read of what follows. */
#define INTAKE_LIMIT(max_message) ((max_message) + HTTP1_HEAD_MAX + SCRATCH_SIZE)

/* A reply may grow to this; a larger result is a processing_error. */
#define REPLY_LIMIT ((size_t)1 << 30)

struct conn_list {
    struct conn *first;
    struct conn *last;
};

/* What all connections of one worker share. */
struct conn_host {
    int epoll;
    size_t max_message;     /* bytes */
    uint64_t read_timeout;  /* ns */
    uint64_t write_timeout; /* ns */
    enum protocol protocol; /* ASYA_PROTOCOL; PROTOCOL_AUTO: the first byte tells */
    bool closing;           /* draining or retiring: no connection is kept alive */
    bool draining;          /* the runtime stops: not ready */
    uint32_t concurrency;   /* requests the service may hold at once */
    uint32_t running;       /* requests it holds */
    bool dispatching;       /* the queue is being worked off */
    bool answering;         /* in service->answer(): the message it was given may lie in the scratch buffer */
    const struct service *service;
    void (*released)(struct conn_host *host, bool waiting); /* a request has ended; waiting: a deadline may be new */
    struct scoreboard *board;                               /* may be NULL: nobody watches */
    struct tampered tampered;
    struct fdstore *fdstore; /* may be NULL: nothing is stored */
    uint32_t free_slots[SLOTS_MAX];
    uint32_t free_count;
    struct conn *unstored[FDSTORE_GROUP]; /* have a slot; to be stored together before any of the user's code can run */
    uint32_t unstored_count;
    uint16_t lead[SLOTS_MAX];            /* by slot: the one its connection is stored in, or NOT_STORED */
    uint16_t sibling[SLOTS_MAX];         /* by slot: the next one stored in the same, round in a ring */
    uint8_t open[SLOTS_MAX];             /* by lead: connections stored in it that are not closed yet */
    int control;                         /* where the supervisor is told to watch, or -1 */
    struct conn_list lists[CONN_STATES]; /* each in the order of its deadlines */
    struct conn *spare;                  /* closed connections, kept for the next ones */
    struct conn *closed;                 /* closed during this round of events: reused after it */
    uint32_t count;                      /* connections open */
    uint64_t sequence;                   /* requests the function was called for */
    size_t max_held;        /* bytes in buffers of connections, beyond which large ones pause; 0: no limit */
    size_t held;            /* bytes there */
    uint32_t paused;        /* connections that are */
    bool given_back;        /* who is paused may go on: it is to be looked */
    struct buffer reply;    /* reused between requests */
    unsigned char *scratch; /* SCRATCH_SIZE bytes: the scoreboard's, or where there is none from malloc() */
};

/* ---- for server.c ----------------------------------------------------------------------------------------------- */

/* Takes over `fd`, a non-blocking CLOEXEC stream socket. Nothing is read from it yet. `kept`: another worker has
 * answered a request on it, and it is between two. NULL if there is no memory: it is answered and closed. */
struct conn *conn_accept(struct conn_host *host, int fd, bool kept);

/* There is no memory even for the connection's state, or no descriptor to keep it: a reply that needs none, in the form
 * that what has arrived asks for. Closes `fd`. */
void conn_turn_away(const struct conn_host *host, int fd);

/* Serves an accepted connection as far as it goes without waiting. */
void conn_begin(struct conn *conn);

/* The epoll set says there is something to do for `conn`. */
void conn_ready(struct conn_host *host, struct conn *conn, uint32_t events);

/* Acts on deadlines that have passed. Returns the next one. */
uint64_t conn_expire(struct conn_host *host, uint64_t now);

/* Connections whose request has begun to arrive, or whose reply is not out yet, or that are not stored. */
uint32_t conn_count_begun(const struct conn_host *host);

/* The runtime stops: whoever has sent nothing yet gets server_error; who is kept alive for a next request is closed. */
void conn_dismiss_silent(struct conn_host *host);

/* End of a round of events: connections closed in it may be reused now. */
void conn_round_end(struct conn_host *host);

/* Closes every connection without a reply and frees everything. Connections nobody has read from stay stored. */
void conn_host_done(struct conn_host *host);

/* ---- between the files of a connection -------------------------------------------------------------------------- */

/* To another state, with that state's deadline. */
void conn_enter(struct conn *conn, enum conn_state state);

/* Ends a kept connection that is between two requests: what its client has sent by now is answered first, in a later
 * round, and what it sends from now on fails there. */
void conn_part(struct conn *conn);

/* Waits for `events`; 0: for none. A connection that cannot be watched would never be heard of again: it is closed, or,
 * while the service has it, marked as gone. */
void conn_watch(struct conn *conn, uint32_t events);

void conn_close(struct conn *conn);

/* The client has closed altogether; after a half-close it still reads. */
bool conn_is_hung_up(const struct conn *conn);

/* A whole request is there: to the service, or into the queue. `message` is the scratch buffer or conn->in and holds
 * `size` bytes; body_at, body_size and request_end say what of it is the request. */
void conn_submit(struct conn *conn, const unsigned char *message, size_t size);

/* Sends the service's reply, unless the supervisor has answered. `reply` keeps its body unless that must wait. */
void conn_deliver(struct conn *conn, struct reply *reply);

/* The service has let go of a request it held: the next one in the queue has its turn. */
void conn_released(struct conn_host *host);

/* A reply of our own: the request never reached the function. */
void conn_refuse(struct conn *conn, const struct error *err);

/* Likewise with an HTTP status that the category does not tell. */
void conn_refuse_http(struct conn *conn, unsigned status, const struct error *err);

/* It stays open behind the reply, for a next request. */
bool conn_is_kept(const struct conn *conn);

/* The reply is out, or there is nobody to take it: the next request, draining, or the end. */
void conn_finish(struct conn *conn);

#endif
