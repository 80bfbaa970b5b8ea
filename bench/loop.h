/*
 * The loop that drives the clients: each sends a request, on a new connection or on one that it keeps, and waits for
 * the end of the reply.
 *
 * closed   it sends its next request when it has the reply
 * open     requests are due at the moments of a schedule, and the client that has been free for longest takes the next.
 *          A latency runs from the moment at which a request was due, also when all clients were waiting then: what a
 *          stalled server would have made others wait is counted, and not omitted
 *
 * One loop is one thread: it drives its clients over one ppoll(2). Against a thread per client this leaves the
 * processors to the server, and what the client itself takes counts into the latencies, never out of them: a clock
 * runs from before socket() until the end of the reply has been read. ppoll and not epoll, because every request has a
 * descriptor of its own that would have to be entered first. Memory is fixed at loop_new.
 */
#ifndef ASYA_BENCH_LOOP_H
#define ASYA_BENCH_LOOP_H

#include "exchange.h"
#include "histogram.h"

#include <signal.h>

/* What the requests of a run came to. */
struct tally {
    uint64_t outcomes[OUTCOME_COUNT];
    uint64_t first_start_ns; /* CLOCK_MONOTONIC; 0 while nothing has been sent */
    uint64_t last_end_ns;
    uint64_t busy_ns; /* processor time of the loop's thread: near its wall time the client is the bottleneck */
    uint64_t unsent;  /* open loop: what was due in the time of the run and did not begin, the server being so late */
    uint64_t late_ns; /* open loop: how long after its moment the last request began */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    char stray_reply[REPLY_HEAD_MAX]; /* how the first reply that was not ok began */
    size_t stray_reply_size;
    struct histogram latencies; /* of the requests that ended ok */
};

struct loop_options {
    const struct sockaddr *address; /* where the server listens; borrowed */
    socklen_t address_size;
    unsigned clients;
    uint64_t timeout_ns; /* for one request; an open loop that is so much behind ends */
    double rate;         /* requests a second of an open loop; 0: closed */
    bool poisson;        /* see schedule.h */
    uint64_t seed;
    uint64_t first_number;                /* the loop numbers its requests first, first + stride, ... */
    uint64_t stride;                      /* so that no two loops use the same number */
    const volatile sig_atomic_t *stopped; /* begin nothing more once it is set */
};

struct loop;

/* A new loop, or NULL with errno. Borrows plan and options for its life. */
struct loop *loop_new(const struct plan *plan, const struct loop_options *options);

/* NULL is allowed. */
void loop_free(struct loop *loop);

/*
 * Runs until `seconds` have passed (0: no limit) or `requests` have been begun (0: no limit); requests under way are
 * waited for. The tally begins anew with every run, the numbers of the requests go on, and so do an open
 * loop's kept connections.
 */
void loop_run(struct loop *loop, double seconds, uint64_t requests);

/* The tally of the last run. Borrowed. */
const struct tally *loop_tally(const struct loop *loop);

/* Adds `from` to `into` (all zero: empty). */
void tally_merge(struct tally *into, const struct tally *from);

#endif
