/*
 * The status page: what a worker tells the supervisor without a system call (design section 2).
 *
 * One page per worker in memory both share. The worker writes, the supervisor reads and trusts nothing in it: every
 * value is a state, a time or a count that is range-checked where it is used; there is no pointer, size or index.
 */
#ifndef ASYA_SERVER_STATUS_H
#define ASYA_SERVER_STATUS_H

#include <stdatomic.h>
#include <stdint.h>

enum { SLOTS_MAX = 1024 }; /* connections a worker holds at once, at most */

enum slot_state {
    SLOT_FREE,
    SLOT_WAITING,   /* connected; not one byte was taken from it: it can be handed on as it is */
    SLOT_READING,   /* part of the request was taken from the socket */
    SLOT_RUNNING,   /* the function works on it */
    SLOT_REPLYING,  /* the reply may have begun: nothing may be added */
    SLOT_STREAMING, /* a stream of events has begun: it can be cut, not added to */
    SLOT_ANSWERED,  /* the supervisor has answered instead, or cut the stream; the function still runs */
    SLOT_TAKEN,     /* the supervisor has taken the connection, unread, from WAITING: the worker closes its copy */
};

/* Why a request is to be cancelled. */
enum cancel_reason { CANCEL_TIMEOUT = 1, CANCEL_CLIENT_GONE };

struct status_slot {
    _Atomic uint32_t state;    /* enum slot_state. WAITING, RUNNING and STREAMING are left by
                                * compare-and-exchange: one side reads, answers or cuts, once */
    _Atomic uint32_t reason;   /* enum cancel_reason; written by the supervisor before `cancel` */
    _Atomic uint32_t protocol; /* enum protocol of the request: the form of the reply, if the supervisor gives it */
    _Atomic uint64_t since;    /* clock_now() when the function was called */
    _Atomic uint64_t sequence; /* number of the request that runs here, from 1 */
    _Atomic uint64_t cancel;   /* written by the supervisor: the sequence to cancel */
};

struct status_page {
    _Atomic uint64_t requests; /* requests the function was called for */
    _Atomic uint64_t failures; /* of these, how many were answered with an error */
    _Atomic uint64_t refused;  /* requests answered with an error before any call */
    _Atomic uint32_t holding;  /* connections held */
    _Atomic uint32_t running;  /* of these, in the function */
    struct status_slot slots[SLOTS_MAX];
};

#endif
