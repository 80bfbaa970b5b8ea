/*
 * A worker's counts for the metrics: requests by protocol and outcome, and the time of each stage (docs/operating.md,
 * "Metrics").
 *
 * The tally lies on the worker's scoreboard. Only the thread of the server writes it, with plain stores: no lock, no
 * system call. The supervisor reads it while the worker lives, and adds it to its own sums when the worker is dead.
 *
 * Each request is counted exactly once, by the process that decides its reply. The worker notes the row in slot.pending
 * before it sends (conn_decide) and counts after the last byte (tally_count). If it dies in between, the supervisor
 * counts: the noted row if the whole reply was sent, else the error that it sends itself. If the worker dies within
 * tally_count(), tally_settle() completes that (tally.c says how). Times of stages may lack that one request.
 *
 * The function can overwrite the tally. The guards and the sums show that (tally_take). Then the supervisor continues
 * with the values that it read last: at most a second ago, or, while a request runs, a tick (100 ms).
 */
#ifndef ASYA_SERVER_TALLY_H
#define ASYA_SERVER_TALLY_H

#include "base/error.h"
#include "base/view.h"
#include "wire/protocol.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    TALLY_PROTOCOLS = PROTOCOL_HTTP, /* from PROTOCOL_RAW on, which also counts clients whose protocol is not known */
    TALLY_TYPE_SIZE = 63,            /* bytes of a class name with its NUL; longer ones are cut */
    TALLY_ROWS = 64,                 /* outcomes that are told apart. The first ones are fixed: see tally_row() */
    TALLY_FIXED = 2 * ERR_CATEGORIES,
    TALLY_BOUNDS = 20,                /* upper bounds of buckets: tally_bounds */
    TALLY_BUCKETS = TALLY_BOUNDS + 1, /* and one for what is above */
};

enum tally_stage {
    TALLY_READ,     /* from the first byte to the last of the request */
    TALLY_QUEUE,    /* until it is given to the service, which has all its places taken */
    TALLY_DECODE,   /* until the function is called: JSON to objects, the payload's type; a thread or a task may have to
                       come free first */
    TALLY_FUNCTION, /* until it has returned; a generator: with all that it yields */
    TALLY_ENCODE,   /* until the reply is written: objects to JSON */
    TALLY_WRITE,    /* until its last byte is sent */
    TALLY_STAGES
};

/* Upper bounds in ns, ascending. */
extern const uint64_t tally_bounds[TALLY_BOUNDS];

/* An outcome: ERR_NONE (a success) or an error's category, and the class of the exception or "". */
struct tally_row {
    uint8_t category;
    char type[TALLY_TYPE_SIZE];
};

struct tally_times {
    _Atomic uint64_t buckets[TALLY_BUCKETS];
    _Atomic uint64_t sum; /* ns */
};

/* Counters only, so that they can be compared and added as one array. None ever goes back. */
struct tally_counts {
    _Atomic uint64_t received; /* bytes */
    _Atomic uint64_t sent;
    _Atomic uint64_t requests[TALLY_PROTOCOLS][TALLY_ROWS];
    struct tally_times durations[ERR_CATEGORIES]; /* of requests, by category */
    struct tally_times stages[TALLY_STAGES];
};

enum { TALLY_COUNTS = sizeof(struct tally_counts) / sizeof(uint64_t) };

/* The request that is being counted. Valid while its number is one above `total`. */
struct tally_entry {
    _Atomic uint64_t number;
    uint32_t slot; /* or TALLY_NO_SLOT */
    uint16_t row;
    uint8_t protocol; /* from PROTOCOL_RAW on */
    uint8_t bucket;
};

#define TALLY_NO_SLOT UINT32_MAX

struct tally {
    _Atomic uint64_t head;  /* TALLY_GUARD, as is `end` */
    _Atomic uint64_t total; /* requests counted */
    struct tally_entry entry;
    _Atomic uint64_t last_request; /* clock_now() when the last request arrived */
    _Atomic uint64_t last_error;   /* clock_now() when the last one failed */
    struct tally_counts counts;
    _Atomic uint32_t row_count;
    struct tally_row rows[TALLY_ROWS];
    _Atomic uint64_t end;
};

#define TALLY_GUARD UINT64_C(0xA57A7A11C3965AE1)

/* The times of one request, by clock_now(). 0: it has not come that far. */
struct tally_request {
    uint64_t began;    /* its first byte was there */
    uint64_t whole;    /* its last one, if it had to wait then */
    uint64_t started;  /* given to the service */
    uint64_t called;   /* the function was called */
    uint64_t returned; /* and had ended */
    uint64_t replied;  /* the reply was written */
    uint32_t failed;   /* the row of its failure, or 0 */
    uint32_t pending;  /* 1 + the row that tally_count() is to count, or 0 */
};

void tally_reset(struct tally *tally);

/* The row for an outcome. A type that is new gets a row of its own while there are some; then it is counted as
 * "other". To be called by one thread at a time. */
uint32_t tally_row(struct tally *tally, enum error_category category, struct view type);

/* Plain addition: there is one writer. */
static inline void tally_add(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

void tally_time(struct tally_times *times, uint64_t span);

/* Counts a request whose last byte was sent, or whose client is gone, at `now`. `pending`: of its slot, cleared in the
 * same step. NULL: it has no slot, and the times of its stages are not known. */
void tally_count(struct tally *tally, enum protocol protocol, const struct tally_request *request, uint64_t now,
                 uint32_t slot, _Atomic uint8_t *pending);

/* For the supervisor, once the worker is dead: completes what it was counting. Returns the slot whose `pending` is to
 * be cleared, or TALLY_NO_SLOT. */
uint32_t tally_settle(struct tally *tally);

/* Reads a worker's tally into `seen`, what was read of it before. False, and nothing has changed, if it was written
 * over: a guard, a sum that is wrong, or a counter that has gone back. `tally` may be changing. */
bool tally_take(const struct tally *tally, struct tally *seen);

/* Adds all counters of another tally. */
void tally_merge(struct tally *into, const struct tally *from);

#endif
