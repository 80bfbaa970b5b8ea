/*
 * One connection, from accept to close.
 *
 *            +--------- the request is bad, too large or late ---------+
 *            |                                                         v
 *   accept -> READING -> complete -> (answer) -> reply written? -no-> WRITING
 *            |                                     |                   |
 *            |                                     +------- yes -------+
 *            v                                                         |
 *          closed  <---- nothing left to read ---- DRAINING <----------+ (only after a refusal)
 *
 * REJECTING is READING once no JSON value can come of it: one more second for the end of the input, then the refusal.
 * READING has ASYA_READ_TIMEOUT for the whole request, WRITING has ASYA_WRITE_TIMEOUT for the whole reply, DRAINING
 * discards what a client still sends, so that it gets to read its refusal, within bounds of time and bytes.
 *
 * A connection whose request arrives in one piece never enters the epoll set: accept, read, answer, write, close.
 */
#ifndef ASYA_SERVER_CONN_H
#define ASYA_SERVER_CONN_H

#include "base/buffer.h"
#include "base/error.h"
#include "server/park.h"
#include "server/service.h"
#include "server/status.h"
#include "wire/raw.h"

#include <stdint.h>

enum conn_state { CONN_READING, CONN_REJECTING, CONN_WRITING, CONN_DRAINING, CONN_STATES };

struct conn {
    int fd;
    uint32_t slot; /* where its duplicate is parked, or NO_SLOT */
    enum conn_state state;
    uint32_t events; /* epoll events it is registered for; 0: not in the set */
    bool peer_done;  /* the client sends no more */
    bool handed_on;  /* its duplicate goes to another worker: it is closed here, and lives on */
    bool refused;    /* answered before its request was taken whole: drain before closing */
    struct raw raw;
    struct buffer in;      /* the request so far; bounded by max_message + 1 */
    struct buffer out;     /* the reply; bounded by REPLY_LIMIT */
    size_t sent;           /* of out */
    size_t drained;        /* bytes discarded */
    uint64_t deadline;     /* of the state */
    struct conn *previous; /* in the list of its state, oldest deadline first */
    struct conn *next;
};

#define NO_SLOT UINT32_MAX

enum { SCRATCH_SIZE = 65536 }; /* bytes read at once; requests up to this size need no buffer of their own */

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
    const struct service *service;
    struct status_page *page; /* may be NULL: nobody watches */
    struct park *park;        /* may be NULL: nothing is parked */
    uint32_t free_slots[SLOTS_MAX];
    uint32_t free_count;
    struct conn_list lists[CONN_STATES]; /* deadlines of one state have one length, so a list is in order */
    struct conn *spare;                  /* closed connections, kept for the next ones */
    struct conn *closed;                 /* closed during this round of events: reused after it */
    uint32_t count;                      /* connections open */
    uint64_t sequence;                   /* requests the function was called for */
    struct buffer reply;                 /* reused between requests */
    unsigned char *scratch;              /* SCRATCH_SIZE bytes */
};

/* Takes over `fd`, a non-blocking CLOEXEC stream socket, and serves it as far as it goes without waiting. On failure
 * (no memory) it is closed. */
void conn_accept(struct conn_host *host, int fd);

/* The epoll set says there is something to do for `conn`. */
void conn_ready(struct conn_host *host, struct conn *conn, uint32_t events);

/* Acts on deadlines that have passed. Returns the next one. */
uint64_t conn_expire(struct conn_host *host, uint64_t now);

/* Connections whose request has begun to arrive, or whose reply is not out yet, or that are not parked. */
uint32_t conn_count_begun(const struct conn_host *host);

/* The runtime stops: whoever has sent nothing yet gets server_error. */
void conn_dismiss_silent(struct conn_host *host);

/* End of a round of events: connections closed in it may be reused now. */
void conn_round_end(struct conn_host *host);

/* Closes every connection without a reply and frees everything. Connections nobody has read from stay parked. */
void conn_host_done(struct conn_host *host);

#endif
