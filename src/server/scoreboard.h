/*
 * The scoreboard: what a worker tells the supervisor without a system call (docs/architecture.md).
 *
 * One page per worker in memory both share. The worker writes, the supervisor reads and trusts nothing in it: every
 * value is a state, a time or a count that is range-checked where it is used. The pointers in `outlet` are the worker's
 * own for one system call; the supervisor reads the count beside them alone.
 */
#ifndef ASYA_SERVER_SCOREBOARD_H
#define ASYA_SERVER_SCOREBOARD_H

#include "base/clock.h"
#include "base/exits.h"
#include "base/view.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    SLOTS_MAX = 1024,     /* connections a worker holds at once, at most */
    SCRATCH_SIZE = 65536, /* bytes read at once; requests up to this size need no buffer of their own */
};

/* What the worker is about to do. What has been done, at whatever moment it dies, the kernel writes: `first` says
 * whether a byte was read, `left` and the outlet how much was sent. The worker sends in REPLYING and PUSHING alone, and
 * the supervisor after it has changed RUNNING or STREAMING to ANSWERED: never both.
 *
 * The values are far from each other and from what memory is filled with, in four bits at least: a stray write makes
 * none of them a state, and an overwritten slot is told from a free one. */
enum slot_state {
    SLOT_FREE = 0x0F,
    SLOT_WAITING = 0x3C,   /* not one byte of a request was taken from it: it can be handed on as it is */
    SLOT_READING = 0x66,   /* a request is being read; while `first` is FIRST_NONE no byte of it was taken */
    SLOT_RUNNING = 0x69,   /* the function works on it */
    SLOT_REPLYING = 0x96,  /* the reply goes out, or what is left of it waits for the client */
    SLOT_STREAMING = 0x99, /* the reply is a stream of events, and nothing of it goes out at this moment */
    SLOT_PUSHING = 0xC3,   /* likewise, and something may */
    SLOT_ANSWERED = 0xCC,  /* the supervisor has answered instead, or ended the stream; the function still runs */
    SLOT_TAKEN = 0xF0, /* the supervisor has taken the connection, unread, from WAITING: the worker closes its copy */
};

/* What a connection is once all that has begun to go out is out. */
enum slot_then {
    THEN_CLOSED,
    THEN_UNREAD, /* kept for a next request, of which nothing was taken: as WAITING */
    THEN_TAKEN,  /* kept, and a part of the next request came with this one: as READING */
    THEN_EVENT,  /* in a stream, between two events */
    THEN_DONE,   /* in a stream that lacks the event `done` and its end */
    THEN_END,    /* in a stream that lacks its end */
};

/* The state stands in the low bits of a word; above it counts how often the slot was given to a connection, so that a
 * change of the state can be meant for one connection and no later one. */
enum { SLOT_STATE_BITS = 8 };
#define SLOT_STATE(word) ((word) & ((UINT32_C(1) << SLOT_STATE_BITS) - 1))

/* Why a worker accepts no more connections though it may be idle. When it is set the worker also sends CONTROL_WATCH,
 * so that the supervisor looks at once. */
enum fullness {
    FULL_NOT,
    FULL_FOR_NOW, /* no place, descriptor or memory for one more, and nobody gives way yet, or no listening socket:
                     tried again every 50 ms. It is ready: who lies in the queue is taken as soon as somebody can be */
    FULL_STARVED, /* its function holds the descriptors (CONTROL_STARVED): it takes nobody, and is to be replaced */
};

/* Why a request is to be cancelled. */
enum cancel_reason { CANCEL_TIMEOUT = 1, CANCEL_CLIENT_GONE, CANCEL_STOPPING };

struct scoreboard_slot {
    _Atomic uint32_t state;    /* a word as above. WAITING, RUNNING and STREAMING are left by compare-and-exchange: one
                                * side reads, answers or sends, once */
    _Atomic int32_t fd;        /* the connection's number in the worker's table; -1 once that is closed */
    _Atomic uint32_t left;     /* bytes still to go of what has begun to go out, as of the last send; LEFT_ALL: not one
                                * byte of the reply is out. outlet_progress() reads it */
    _Atomic uint16_t reason;   /* enum cancel_reason; written by the supervisor before `cancel` */
    _Atomic uint16_t protocol; /* enum protocol of the request: the form of the reply, if the supervisor gives it */
    uint8_t first;          /* the first byte of the request; FIRST_NONE: not one was taken. scoreboard_first() reads it
                             */
    _Atomic uint8_t then;   /* enum slot_then, as of the last send: once `left` is 0 */
    _Atomic uint8_t stored; /* a duplicate lies in the fdstore entry of this number */
    _Atomic uint8_t kept;   /* a request was answered on the connection: who sends no other wants no reply */
    _Atomic uint8_t unchunked; /* of a stream: its client knows no chunks, it ends with the connection */
    uint8_t id_size;           /* bytes of board.ids that name the request; 0: it has no name */
    _Atomic uint64_t since;    /* clock_now() when the function was called */
    _Atomic uint64_t sequence; /* number of the request that runs here, from 1 */
    _Atomic uint64_t cancel;   /* written by the supervisor: the sequence to cancel */
    _Atomic uint64_t deadline; /* clock_now() when the caller's deadline makes the function stop; 0: it has none, or it
                                * is not known yet */
};

enum { SCOREBOARD_ID_MAX = 64, SCOREBOARD_TEXT_SIZE = 128 };

#define FIRST_NONE UINT8_MAX /* begins no message */
#define LEFT_ALL   UINT32_MAX

#define OUTLET_NO_SLOT UINT32_MAX
#define OUTLET_UNSENT  UINT32_MAX

#define SCOREBOARD_WATCHED UINT32_C(0x57415443) /* no stray write looks like it, lest nobody watch */

#define OWN_EXIT UINT32_C(0x4F574E00) /* above the status: no stray write looks like it */

/* What the worker begins to read now. The kernel writes its first byte into scratch[0] as it takes it from the socket;
 * the slot keeps it from then on. */
struct scoreboard_inlet {
    _Atomic uint32_t slot; /* whose request it is; OUTLET_NO_SLOT between two reads */
};

/* What the worker sends now (server/outlet.h). */
struct scoreboard_outlet {
    _Atomic uint32_t slot;  /* whose reply it is; OUTLET_NO_SLOT between two sends */
    uint32_t left;          /* bytes that are given to the kernel now */
    uint8_t then;           /* enum slot_then, once all of them are out */
    struct mmsghdr message; /* its msg_len is the kernel's to write: bytes sent, OUTLET_UNSENT before */
};

/* The function may write over the scoreboard by mistake (a wild pointer, a buffer that is too short). What it does to a
 * place is seen by the state there, which is none any more; what it does to much of the scoreboard by these words,
 * which nobody else writes after scoreboard_reset(). A worker whose page is not intact is replaced. */
struct scoreboard_guard {
    _Atomic uint64_t word;
};

/* In four places, four values: a copy of one part over another is seen too. */
enum scoreboard_place { GUARD_HEAD, GUARD_SLOTS, GUARD_IDS, GUARD_END };
#define SCOREBOARD_GUARD(place) (UINT64_C(0xA57A6A5D3C96E100) + (uint64_t)(place))

struct scoreboard {
    struct scoreboard_guard guard_head;
    _Atomic uint64_t requests; /* requests the function was called for */
    _Atomic uint64_t failures; /* of these, how many were answered with an error */
    _Atomic uint64_t refused;  /* requests answered with an error before any call */
    _Atomic uint64_t turns;    /* rounds of the worker's loop: it stands still while a function keeps it busy */
    _Atomic uint32_t holding;  /* connections held */
    _Atomic uint32_t running;  /* of these, in the function */
    _Atomic uint32_t busy;     /* the loop is in the function: whoever comes must wait or go elsewhere */
    _Atomic uint32_t watched;  /* SCOREBOARD_WATCHED: the supervisor looks at this scoreboard every tick; it clears this
                                * when  nothing  runs */
    _Atomic uint32_t awaited;  /* the supervisor accepts until the worker gets on, and wants to be told of that */
    _Atomic uint32_t full;     /* enum fullness: it takes no more connections for now, which others should look at */
    _Atomic uint32_t closing;  /* the supervisor will tell it to end: no connection is kept alive */
    _Atomic uint32_t own_exit; /* scoreboard_note_exit */
    struct scoreboard_outlet outlet;
    struct scoreboard_inlet inlet;
    char
        waits_for[SCOREBOARD_TEXT_SIZE]; /* what keeps a worker that has nothing more to serve: for a line of the log */
    struct scoreboard_guard guard_slots;
    struct scoreboard_slot slots[SLOTS_MAX];
    struct scoreboard_guard guard_ids;
    char ids[SLOTS_MAX][SCOREBOARD_ID_MAX]; /* by slot: what the client calls the request, cut; for lines of the log.
                                             * Apart from the slots, which are looked through often. Not cleared for a
                                             * new process: id_size is */
    struct scoreboard_guard guard_end;
    unsigned char scratch[SCRATCH_SIZE]; /* where the worker reads into; of it the supervisor looks at the first byte */
};

/* When the function that was called at `since` is to stop: the earlier of ASYA_HANDLER_TIMEOUT (`timeout` ns; 0: off)
 * and the caller's deadline. */
struct scoreboard_limit {
    uint64_t at; /* CLOCK_NEVER: no limit */
    bool is_callers;
};

static inline struct scoreboard_limit scoreboard_limit(uint64_t since, uint64_t timeout, uint64_t deadline)
{
    uint64_t own = timeout > 0 ? clock_after(since, timeout) : CLOCK_NEVER;
    bool is_callers = deadline != 0 && deadline < own;
    return (struct scoreboard_limit){.at = is_callers ? deadline : own, .is_callers = is_callers};
}

/* The first byte that was taken of the request in this slot, or FIRST_NONE. For the supervisor, once the worker is
 * dead: exact at whatever moment that was. Of a living one it may be late by a moment. */
uint8_t scoreboard_first(const struct scoreboard *board, uint32_t slot);

/* A page on which nothing has happened. */
void scoreboard_reset(struct scoreboard *board);

/* Nobody has written over the scoreboard, as far as its guards tell. */
static inline bool scoreboard_is_intact(const struct scoreboard *board)
{
    return atomic_load_explicit(&board->guard_head.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_HEAD) &&
           atomic_load_explicit(&board->guard_slots.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_SLOTS) &&
           atomic_load_explicit(&board->guard_ids.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_IDS) &&
           atomic_load_explicit(&board->guard_end.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_END);
}

/* Likewise, and as far as its places tell. */
bool scoreboard_is_plausible(const struct scoreboard *board);

/* Somebody has, as a place tells: from now on the scoreboard is not intact. */
void scoreboard_note_overwritten(struct scoreboard *board);

/* One of the states there are: else the place was written over. */
bool slot_is_state(enum slot_state state);

static inline enum slot_state slot_state(const struct scoreboard_slot *slot)
{
    return (enum slot_state)SLOT_STATE(atomic_load_explicit(&slot->state, memory_order_acquire));
}

/* From one state to another, by compare-and-exchange. False, and nothing has changed, if it was not in `from`. */
static inline bool slot_move(struct scoreboard_slot *slot, enum slot_state from, enum slot_state to)
{
    uint32_t word = atomic_load_explicit(&slot->state, memory_order_acquire);
    while (SLOT_STATE(word) == (uint32_t)from) {
        uint32_t next = word - (uint32_t)from + (uint32_t)to;
        if (atomic_compare_exchange_weak_explicit(&slot->state, &word, next, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

/* An exit status alone does not say who chose it: the function may call os._exit with any number, the runtime's own
 * among them. So the worker notes on the scoreboard that it is about to end by itself, with `code`, after it has logged
 * why; a status that was not noted is the function's. NULL: nobody watches. */
static inline void scoreboard_note_exit(struct scoreboard *board, int code)
{
    if (board != NULL) {
        atomic_store_explicit(&board->own_exit, OWN_EXIT | (uint32_t)code, memory_order_release);
    }
}

/* Whether the worker, ended with `code`, has noted it. */
static inline bool scoreboard_has_noted_exit(const struct scoreboard *board, int code)
{
    return atomic_load_explicit(&board->own_exit, memory_order_acquire) == (OWN_EXIT | (uint32_t)code);
}

/* Notes what the request that runs in `slot` is called; in the worker, by whoever serves it. */
void scoreboard_note_id(struct scoreboard *board, struct scoreboard_slot *slot, struct view id);

#endif
