/*
 * One connection: its record, the lists of deadlines it is in, what is watched of it, and its end. What happens with it
 * next is decided in dispatch.c alone.
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
 * YIELDING is READING for whom others come first: many requests in a row have come on this connection, or a function
 * runs now.
 * READING has ASYA_READ_TIMEOUT for the whole request, WRITING has ASYA_WRITE_TIMEOUT for what is to be written, and
 * FLUSHING has it for the whole stream: the times in which the client was waited for add up, since a function that is
 * made to wait keeps its place from all others. DRAINING discards what a client still sends, so that it gets to read
 * its refusal, within bounds of time and bytes.
 *
 * A connection whose request arrives in one piece never enters the epoll set: accept, read, answer, write, close.
 *
 * While a worker has no room for one more, the oldest in READING give way (server/room.h). READING may pause for want
 * of memory (server/budget.h).
 *
 * Files: server (accepts, obeys, waits) and exchange (what the service does later) use dispatch (decides what is next),
 * which uses intake (bytes to requests, with http for heads and routes) and output (replies to bytes).
 */
#ifndef ASYA_SERVER_CONN_H
#define ASYA_SERVER_CONN_H

#include "base/buffer.h"
#include "server/config.h"
#include "server/slot.h"
#include "server/tampered.h"
#include "wire/http1_chunked.h"
#include "wire/http1_request.h"
#include "wire/http1_response.h"
#include "wire/raw.h"

#include <stdbool.h>
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

/* Bytes a connection's input may take: the message, the head or prefix before it, and one read of what follows. */
#define INTAKE_LIMIT(max_message) ((max_message) + HTTP1_HEAD_MAX + SCRATCH_SIZE)

/* A reply may grow to this; a larger result is a processing_error. */
#define REPLY_LIMIT ((size_t)1 << 30)

struct conn_list {
    struct conn *first;
    struct conn *last;
};

/* Where the worker stands. */
enum conn_stage {
    STAGE_SERVING,
    STAGE_RETIRING, /* accepts no more, and finishes what has begun; its successor takes what nobody has read */
    STAGE_DRAINING, /* the runtime stops: answers all that has come, and says that it is not ready */
};

/* What all connections of one worker share. */
struct conn_host {
    const struct server_config *config; /* borrowed */
    int epoll;
    enum conn_stage stage;
    uint32_t running; /* requests the service holds */
    bool answering;   /* in service->answer(): the message it was given may lie in the scratch buffer */
    void (*released)(struct conn_host *host); /* a request has ended, outside of answer(): others may have their turn */
    struct tampered tampered;
    struct slots slots;
    struct conn_list lists[CONN_STATES]; /* each in the order of its deadlines */
    struct conn *spare;                  /* closed connections, kept for the next ones */
    struct conn *closed;                 /* closed during this round of events: reused after it */
    uint32_t count;                      /* connections open */
    uint64_t sequence;                   /* requests the function was called for */
    size_t held;                         /* bytes in buffers of connections */
    uint32_t paused;                     /* connections that are */
    bool given_back;                     /* who is paused may go on: it is to be looked */
    struct buffer reply;                 /* reused between requests */
    unsigned char *scratch; /* SCRATCH_SIZE bytes: the scoreboard's, or where there is none from malloc() */
};

/* No connection is kept alive any more: the worker ends, or the supervisor will tell it to. */
bool conn_host_is_closing(const struct conn_host *host);

/* The service can take one more request. */
static inline bool conn_host_has_capacity(const struct conn_host *host)
{
    return host->running < (host->config->concurrency > 0 ? host->config->concurrency : 1);
}

/* Takes over `fd`, a non-blocking CLOEXEC stream socket: a place, a list, and a duplicate in the fdstore, which lacks
 * if *ret_stored is -errno. NULL if there is no memory: then `fd` is still the caller's. `kept`: another worker has
 * answered a request on it, and it is between two. There must be a slot. */
struct conn *conn_open(struct conn_host *host, int fd, bool kept, int *ret_stored);

/* Ends it for the client. The record stays until conn_round_end(). */
void conn_close(struct conn *conn);

/* To another state, with that state's deadline. */
void conn_enter(struct conn *conn, enum conn_state state);

/* Waits for `events`; 0: for none. A connection that cannot be watched would never be heard of again: it is closed, or,
 * while the service has it, marked as gone. */
void conn_watch(struct conn *conn, uint32_t events);

/* The service has it, or would be told of its end. */
bool conn_is_in_service(const struct conn *conn);

/* The client has closed altogether; after a half-close it still reads. */
bool conn_is_hung_up(const struct conn *conn);

/* It stays open behind the reply, for a next request. */
static inline bool conn_is_kept(const struct conn *conn)
{
    return conn->keep_alive && !conn->refused && !conn->peer_done;
}

/* The slow path of conn_count_buffers. */
void conn_recount_buffers(struct conn *conn);

/* What `conn` holds, or whether it is being read, has changed. */
static inline void conn_count_buffers(struct conn *conn)
{
    if ((conn->in.capacity | conn->out.capacity | conn->counted) != 0) {
        conn_recount_buffers(conn);
    }
}

/* It is not read on for want of memory, or it is again. */
void conn_set_paused(struct conn *conn, bool paused);

/* Nothing of a request was read. */
static inline bool conn_is_unread(const struct conn *conn)
{
    return conn->fd >= 0 && conn->state == CONN_READING && conn->seen == 0 && conn->in.size == 0;
}

/* Nor has one come that is to be the last. */
static inline bool conn_is_silent(const struct conn *conn) { return conn_is_unread(conn) && !conn->parting; }

/* Kept alive, and not used again. */
static inline bool conn_is_idle(const struct conn *conn) { return conn->served > 0 && conn_is_silent(conn); }

/* Connections whose request has begun to arrive, or whose reply is not out yet, or that are not stored. */
uint32_t conn_count_begun(const struct conn_host *host);

/* The earliest deadline of all; CLOCK_NEVER. */
uint64_t conn_next_deadline(const struct conn_host *host);

/* End of a round of events: connections closed in it may be reused now. */
void conn_round_end(struct conn_host *host);

/* Closes every connection without a reply and frees everything. Connections nobody has read from stay stored. */
void conn_host_done(struct conn_host *host);

#endif
