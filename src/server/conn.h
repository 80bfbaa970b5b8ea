/*
 * One connection: its record, the lists of deadlines, which epoll events it is watched for, and its close. What happens
 * next on a connection is decided in dispatch.c alone.
 *
 *   accept -> READING -> complete -> capacity? -no-> QUEUED
 *            ^ ^  |                      | yes         | another request ended
 *            | |  |                      v             v
 *         IDLE |  |                  the service: done at once, or RUNNING until exchange_reply()
 *            ^ |  |                      |                  \ exchange_stream() -> STREAMING <-> FLUSHING
 *            | |  +-- refused            v                                              |
 *            | |         \---------> reply written? -no-> WRITING                       |
 *            | |                         | yes              |                           |
 *            +-+--- keep-alive ----------+------------------+---------------------------+
 *                                        | else
 *                                        v
 *          closed <---- nothing left to read ---- DRAINING (only after a refusal)
 *
 *   READING    a request arrives, within ASYA_READ_TIMEOUT. Pauses while the worker's buffers are full (budget.h). When
 *              no slot or descriptor is left for a new connection, the oldest in READING give way (room.h)
 *   IDLE       kept alive after a reply, and nothing of a next request has come; ASYA_KEEPALIVE_TIMEOUT at most. The
 *              first byte makes it READING. Gives way before all others. Whenever it ends, it is shut for reading first
 *              (dispatch_part), so that what its client had sent by then is answered
 *   REJECTING  as READING, but no valid JSON can come of what has arrived: the client has one second to end its
 *              message, then it is refused
 *   YIELDING   as READING, but other connections come first: many requests in a row came on this one, or the service
 *              is in answer() and nothing may be read now
 *   QUEUED     a whole request waits until the service has capacity
 *   RUNNING    the service has the request, and will reply later
 *   STREAMING  the service streams events, and all of them so far were sent
 *   FLUSHING   events of a stream wait for the client. The times in this state add up over the whole stream and are
 *              limited by ASYA_WRITE_TIMEOUT: a function that waits for its client keeps others from being served
 *   WRITING    a reply waits for the client, within ASYA_WRITE_TIMEOUT
 *   DRAINING   what the client still sends is discarded, so that it gets to read its refusal; limited in time and bytes
 *
 * A connection whose request arrives in one piece never enters the epoll set: accept, read, answer, write, close.
 *
 * Files: server (accepts connections, obeys the supervisor, waits in epoll) and exchange (for the service: late replies
 * and streams) call dispatch (decides what is next), which calls intake (bytes to requests, with http for heads and
 * routes) and output (replies to bytes).
 */
#ifndef ASYA_SERVER_CONN_H
#define ASYA_SERVER_CONN_H

#include "base/buffer.h"
#include "server/config.h"
#include "server/numbers.h"
#include "server/record.h"
#include "server/slot.h"
#include "server/stock.h"
#include "server/tampered.h"
#include "wire/http1_chunked.h"
#include "wire/http1_request.h"
#include "wire/http1_response.h"
#include "wire/raw.h"

#include <stdbool.h>
#include <stdint.h>

enum conn_state {
    CONN_READING,
    CONN_IDLE,
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

/* How far an HTTP request has been parsed. */
struct conn_http {
    struct http1_request request;
    struct http1_chunked chunked;
    bool has_head;
};

struct conn {
    struct conn_host *host;
    int fd;        /* -1 once closed; the record stays until the end of the round of events */
    uint32_t slot; /* on the scoreboard, or NO_SLOT */
    enum conn_state state;
    uint32_t events; /* epoll events it is registered for; 0: not in the set */
    enum protocol protocol;
    bool peer_done;  /* the client has closed or half-closed: it sends no more */
    bool handed_on;  /* its duplicate goes to another worker: close only our copy, do not shut the connection down */
    bool refused;    /* answered before the whole request was read: drain before closing */
    bool keep_alive; /* another request may follow the reply */
    bool parting;    /* shut down for reading: what was sent before is the last request */
    bool gone;       /* nobody waits for the reply any more */
    bool has_failed; /* the service reported a failure: keep the request's file (record.h) */
    bool stream_is_over; /* the service has ended the stream; only pending bytes are left to send */
    bool paused;         /* not read from while memory is short (server/budget.h) */
    enum slot_then then; /* what the connection becomes once all bytes are sent */
    uint32_t served;     /* requests answered on this connection before the current one */
    size_t seen;         /* bytes of this request that have arrived */
    union {
        struct raw raw;
        struct conn_http http;
    };
    struct buffer in;     /* the request so far; bounded by INTAKE_LIMIT */
    size_t body_at;       /* offset in `in`, once complete: where the JSON text begins */
    size_t body_size;     /* length of the JSON text */
    size_t request_end;   /* offset in `in`: where the next request begins */
    size_t sent;          /* bytes sent of `head` and `out` together */
    size_t drained;       /* bytes discarded in DRAINING */
    struct buffer out;    /* the reply; bounded by REPLY_LIMIT */
    size_t counted;       /* bytes of both buffers that are counted in host->held */
    size_t moved;         /* bytes of a large request that have arrived since moved_at */
    uint64_t moved_at;    /* when a large request last made enough progress, or its pause ended; 0: not large yet */
    uint64_t paused_at;   /* when this request was paused first; 0: never */
    uint64_t sequence;    /* number of the request that the service has */
    struct record record; /* and its file */
    struct tally_request tally; /* of the current request */
    uint64_t deadline;          /* when its time in this state is over */
    uint64_t waited;            /* ns that the stream has waited for its client, in earlier FLUSHING states */
    void *data;                 /* belongs to the service */
    struct conn *previous;      /* in the list of its state, sorted by deadline */
    struct conn *next;
    uint32_t head_size;             /* bytes of `head` */
    char head[HTTP1_RESPONSE_SIZE]; /* HTTP head or length prefix of the reply; last, so that it is never cleared */
};

/* The most bytes that conn->in may take: the message, its head or prefix, and one read of what follows. */
#define INTAKE_LIMIT(max_message) ((max_message) + HTTP1_HEAD_MAX + SCRATCH_SIZE)

/* A reply may grow to this; a larger result is a processing_error. */
#define REPLY_LIMIT ((size_t)1 << 30)

struct conn_list {
    struct conn *first;
    struct conn *last;
};

/* What the worker does at this stage of its life. */
enum conn_stage {
    STAGE_SERVING,
    STAGE_RETIRING, /* accepts no more, and finishes what has begun; the next worker takes unread connections */
    STAGE_DRAINING, /* the runtime stops: answers all that has arrived; /healthz says that it is stopping */
};

/* What all connections of one worker share. */
struct conn_host {
    const struct server_config *config; /* borrowed */
    int epoll;
    enum conn_stage stage;
    uint64_t looked;  /* when epoll_wait() returned last */
    uint64_t now;     /* the last reading of the clock: at most a round without the function ago. Saves further ones,
                         80 ns each in some virtual machines */
    uint32_t running; /* requests that the service has */
    bool answering;   /* answer() runs: its message may lie in the scratch buffer, so nothing may be read */
    void (*released)(struct conn_host *host); /* a request ended outside of answer(): there is capacity */
    struct tampered tampered;
    struct numbers numbers; /* of the connections, and of the server's own descriptors */
    struct slots slots;
    struct conn_list lists[CONN_STATES]; /* each sorted by deadline */
    struct conn *spare;                  /* records of closed connections, for reuse */
    struct conn *closed;                 /* closed in this round of events: may be reused after it */
    uint32_t count;                      /* connections open */
    uint64_t sequence;                   /* requests that the function was called for */
    size_t held;                         /* bytes in the buffers of all connections */
    uint32_t paused;                     /* how many connections are paused */
    bool given_back;                     /* buffers have become smaller: paused connections may read on */
    struct stock stock;                  /* buffers, reused between requests */
    unsigned char *scratch; /* SCRATCH_SIZE bytes on the scoreboard, or from malloc() if there is no scoreboard */
};

/* Whether connections are no longer kept alive: the worker ends, or is about to be told to. */
bool conn_host_is_closing(const struct conn_host *host);

/* The function's health check fails, here or in another worker. */
bool conn_host_is_unwell(const struct conn_host *host);

/* The service can take one more request. */
static inline bool conn_host_has_capacity(const struct conn_host *host)
{
    return host->running < (host->config->concurrency > 0 ? host->config->concurrency : 1);
}

/* Takes over `fd`, a non-blocking CLOEXEC stream socket: gives it a record, a slot, and a duplicate in the fdstore;
 * *ret_stored is -errno if the duplicate could not be stored, else 0. Returns NULL if there is no memory: then `fd` is
 * still the caller's. Ends the worker if it holds the number of `fd` already (numbers.h). `kept`: another worker has
 * answered a request on this connection, and the next one has not begun. A slot must be free. */
struct conn *conn_open(struct conn_host *host, int fd, bool kept, int *ret_stored);

/* Whether conn->fd is still the connection: the function may have closed it and have opened a file of its own that got
 * the number. If not, this ends the worker (tampered.h). One system call, two if it is. */
void conn_check(const struct conn *conn);

/* Decides in which row of the tally the request will be counted: before its reply is sent. */
void conn_decide(struct conn *conn, uint32_t row);

/* Counts the request if that was decided: its last byte is out, or its client is gone. */
void conn_count(struct conn *conn);

/* Closes the connection for the client. The record stays valid until conn_round_end(). */
void conn_close(struct conn *conn);

/* Moves it to another state, with that state's deadline. */
void conn_enter(struct conn *conn, enum conn_state state);

/* Moves it to where it waits for a request: IDLE if it is kept and nothing of the next one is there, else READING. */
void conn_await_request(struct conn *conn);

/* Watches it for `events`; 0: for none. If epoll cannot watch it, nothing would ever happen on it again: it is closed,
 * or, while the service has its request, marked as gone. */
void conn_watch(struct conn *conn, uint32_t events);

/* The service has its request or stream, and must be told when the client is gone. */
bool conn_is_in_service(const struct conn *conn);

/* The client has closed the connection. False after a half-close: then it still reads the reply. */
bool conn_is_hung_up(const struct conn *conn);

/* The connection stays open after the reply, for the next request. */
static inline bool conn_is_kept(const struct conn *conn)
{
    return conn->keep_alive && !conn->refused && !conn->peer_done;
}

/* The slow path of conn_count_buffers. */
void conn_recount_buffers(struct conn *conn);

/* To be called when the buffers of `conn` have changed, or its state. */
static inline void conn_count_buffers(struct conn *conn)
{
    if ((conn->in.capacity | conn->out.capacity | conn->counted) != 0) {
        conn_recount_buffers(conn);
    }
}

/* Pauses reading while memory is short, or ends the pause. */
void conn_set_paused(struct conn *conn, bool paused);

/* Kept alive after a reply, and the next request has not begun. */
static inline bool conn_is_idle(const struct conn *conn) { return conn->fd >= 0 && conn->state == CONN_IDLE; }

/* No byte of a request was read from it. */
static inline bool conn_is_unread(const struct conn *conn)
{
    return conn_is_idle(conn) ||
           (conn->fd >= 0 && conn->state == CONN_READING && conn->seen == 0 && conn->in.size == 0);
}

/* No byte of a request was read, and none waits to be read as the last one (`parting`). */
static inline bool conn_is_silent(const struct conn *conn) { return conn_is_unread(conn) && !conn->parting; }

/* The first connection of those that wait for a request or for the rest of one, and the one behind `conn`; NULL: none.
 * First the idle ones. */
struct conn *conn_first_waiting(const struct conn_host *host);
struct conn *conn_next_waiting(const struct conn *conn);

/* Connections that the worker must finish itself: their request has begun to arrive, their reply is not out yet, or
 * they are not stored, so no other worker can get them. */
uint32_t conn_count_begun(const struct conn_host *host);

/* The earliest deadline of all connections; CLOCK_NEVER: none. */
uint64_t conn_next_deadline(const struct conn_host *host);

/* The end of a round of events: records of connections that were closed in it may be reused now. */
void conn_round_end(struct conn_host *host);

/* Closes every connection without a reply and frees everything. Unread connections stay stored, for the next worker. */
void conn_host_done(struct conn_host *host);

#endif
