/*
 * A load on a runtime's socket: clients that send the same request again and again, for the command `bench`.
 *
 * The request is given as bytes. All that this file knows of the protocols is where a reply ends: with the connection,
 * or, on a kept connection, after Content-Length bytes of HTTP. (bench/loop.c checks the replies of the project's own
 * benchmarks byte by byte; this one is part of the runtime and therefore small.) One thread drives all clients with
 * ppoll.
 *
 *   closed loop   each client begins its next request when it has its reply
 *   open loop     requests are due at fixed times, whether the runtime keeps up or not. Latency is measured from the
 *                 time at which a request was due, even if all clients were busy then, so that a stall counts for the
 *                 requests that it delayed (no coordinated omission)
 */
#ifndef ASYA_SERVER_LOAD_H
#define ASYA_SERVER_LOAD_H

#include "base/octave.h"
#include "base/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOAD_CLIENTS_MAX = 4096,
    LOAD_HEAD_SIZE = 512, /* bytes of a reply that are looked at */
    LOAD_BUCKET_BITS = 6, /* every power of two of nanoseconds is cut into 64: 1.6 % */
    LOAD_BUCKETS = OCTAVE_BUCKETS(LOAD_BUCKET_BITS),
};

enum load_outcome { LOAD_OK, LOAD_BAD, LOAD_LOST, LOAD_LATE, LOAD_OUTCOMES };

struct load_plan {
    const char *path;
    struct view request;
    struct view prefix; /* of a reply, behind `prefix_at` bytes: of a good one, or of a bad one */
    size_t prefix_at;
    bool prefix_is_bad;
    bool half_close;
    bool keeps; /* the connection takes the next request */
    uint32_t clients;
    uint64_t interval;            /* nanoseconds between two requests of the open loop; 0: closed loop */
    uint64_t span;                /* nanoseconds for which requests begin */
    uint64_t requests;            /* and how many at most */
    uint64_t timeout;             /* of one */
    bool (*check)(void *context); /* called every 20 ms: false ends the load */
    void *context;
};

/* Python reads this (inject/commands/bench.py). */
struct load_tally {
    uint64_t outcomes[LOAD_OUTCOMES];
    uint64_t elapsed; /* from the first request to the last reply */
    uint64_t busy;    /* processor time of this thread */
    uint64_t sum;     /* of the latencies of good replies */
    uint64_t most;
    uint64_t buckets[LOAD_BUCKETS];
    char bad[LOAD_HEAD_SIZE]; /* how the first bad reply began, and zeros */
};

/* Runs the load; requests that run at the end are waited for. `tally` is all zero. Returns 0 or -errno. */
int load_run(const struct load_plan *plan, struct load_tally *tally);

#endif
