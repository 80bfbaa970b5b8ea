/*
 * One request and its reply: which bytes a protocol sends, and whether the answer is the right one.
 *
 * A mode is a protocol as this client speaks it: a row of functions, no sockets. Bytes of a reply are judged as they
 * arrive and not kept, so memory does not depend on the size of a reply. Pure.
 */
#ifndef ASYA_BENCH_EXCHANGE_H
#define ASYA_BENCH_EXCHANGE_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

/* How a request ended. OUTCOME(name, what it means) */
#define OUTCOMES(OUTCOME)                                                                                              \
    OUTCOME(ok, "the expected reply, whole")                                                                           \
    OUTCOME(error_reply, "a whole reply that begins with {\"error\"")                                                  \
    OUTCOME(unexpected, "a whole reply that is neither")                                                               \
    OUTCOME(mispaired, "the reply carries the number of another request, or none")                                     \
    OUTCOME(duplicated, "more than one reply on the connection")                                                       \
    OUTCOME(truncated, "the connection ended in the middle of the reply")                                              \
    OUTCOME(lost, "sent, and the connection ended without a byte of reply")                                            \
    OUTCOME(timeout, "no whole reply in time")                                                                         \
    OUTCOME(connect, "no connection: nothing was sent")

enum outcome {
#define OUTCOME_NAME(name, meaning) OUTCOME_##name,
    OUTCOMES(OUTCOME_NAME)
#undef OUTCOME_NAME
        OUTCOME_COUNT
};

extern const char *const OUTCOME_NAMES[OUTCOME_COUNT];
extern const char *const OUTCOME_MEANINGS[OUTCOME_COUNT];

/* What is the same for every request of a run. Borrowed by every exchange. */
struct plan {
    const struct mode *mode;
    struct view body;
    struct view expect; /* how the JSON of a good reply begins; at most EXPECT_MAX bytes */
    bool numbered;
    bool half_close; /* only where the mode has no other end of a request */
};

enum { REQUEST_HEAD_MAX = 256, REPLY_HEAD_MAX = 512, EXPECT_MAX = 128 };

/* Where the scanner stands in the text of a numbered reply. */
struct reply_scan {
    unsigned depth;
    unsigned values; /* top-level values that are complete */
    bool in_string;
    bool escaped;
    bool junk; /* something at the top level that is not an object, an array or white space */
    unsigned key_matched;
    bool in_number;
    uint64_t number;
    unsigned own;     /* how often the request's own number came */
    unsigned foreign; /* how often another one */
};

struct exchange {
    uint64_t number;
    char head[REQUEST_HEAD_MAX]; /* what precedes the body */
    size_t head_size;
    struct view tail; /* what follows it */
    char reply_head[REPLY_HEAD_MAX];
    size_t reply_size;
    char reply_last;    /* the last byte that is not white space */
    size_t body_at;     /* where in the reply the JSON begins; 0: not known yet, or at its beginning */
    size_t reply_whole; /* size of the whole reply as the protocol says; 0: not known */
    struct reply_scan scan;
};

enum step { STEP_MORE, STEP_DONE };

struct mode {
    const char *name;
    bool keeps;   /* the connection takes the next request */
    bool numbers; /* requests and replies may be numbered */
    bool closes;  /* the request ends with a half-close, if the plan says so */
    /* Begins an exchange: fills head and tail. The request is head, the plan's body, tail. */
    void (*begin)(struct exchange *exchange, const struct plan *plan);
    /* Takes bytes of the reply. STEP_DONE when the protocol itself says that the reply is complete. */
    enum step (*feed)(struct exchange *exchange, const struct plan *plan, struct view bytes);
    /* Judges the reply, complete or cut off by the end of the connection. */
    enum outcome (*judge)(const struct exchange *exchange, const struct plan *plan);
};

/* The mode of that name, or NULL. */
const struct mode *mode_find(const char *name);

/* Starts request `number` anew, forgetting the last one. */
void exchange_begin(struct exchange *exchange, const struct plan *plan, uint64_t number);

/* Size of the whole request. */
size_t exchange_request_size(const struct exchange *exchange, const struct plan *plan);

#endif
