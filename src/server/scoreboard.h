/*
 * The scoreboard: what a worker tells the supervisor without a system call (docs/architecture.md).
 *
 * Each worker shares one such block of memory with the supervisor. The supervisor trusts nothing in it, since the
 * function can write over it: every value is a state, a time or a count, and is checked where it is used. `outlet`
 * holds pointers, which belong to the worker for the time of one system call; the supervisor reads only the count
 * beside them.
 *
 * There are no locks. Each field has one writer, the worker, except for these:
 *
 *   slot.state        both sides, by compare-and-exchange (slot.h). It is stored with release order and read with
 *                     acquire order, so a reader that sees a state also sees the fields that were written before it
 *   watched           the supervisor sets and clears it, and the worker sets it. Each side writes its own word, then
 *                     has a full fence, then reads the other side's word (as in Dekker's algorithm). So it cannot
 *                     happen that both miss the other's write: either the worker sees that nobody watches, or the
 *                     supervisor sees the request
 *   awaited           the supervisor sets it and the worker clears it; with `turns`, in the same way
 *   reason, cancel    the supervisor writes them into the worker's slots
 *   unwell            the supervisor writes it
 *   closing           the supervisor writes it; with `serving`, in the same way
 *   draining, level, stacks_wanted   the supervisor writes them
 *   printed.taken     the supervisor writes it
 *
 * The kernel writes scratch[0] during a read and outlet.message.msg_len during a send, so these are correct even if the
 * worker is killed right after the system call.
 */
#ifndef ASYA_SERVER_SCOREBOARD_H
#define ASYA_SERVER_SCOREBOARD_H

#include "base/clock.h"
#include "base/exits.h"
#include "base/marks.h"
#include "base/view.h"
#include "server/incident.h"
#include "server/tally.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    SLOTS_MAX = 1024,     /* the most connections that a worker holds at once */
    SCRATCH_SIZE = 65536, /* bytes in one read; requests up to this size need no buffer of their own */
};

/* The state of a slot says what the worker is about to do. What it has really done is written by the kernel, so that it
 * is known even if the worker dies: `first` says whether a byte was read, `left` and the outlet how much was sent. The
 * worker sends only in REPLYING and PUSHING; the supervisor sends only after it has changed RUNNING or STREAMING to
 * ANSWERED. So only one side sends.
 *
 * Any two values differ in at least four bits, and so does each from the values that memory is usually filled with: a
 * stray write does not turn one state into another, and an overwritten slot does not look like a free one. */
enum slot_state {
    SLOT_FREE = 0x0F,
    SLOT_WAITING = 0x3C,   /* no byte of a request was read: the connection can be handed on as it is */
    SLOT_READING = 0x66,   /* a request is being read; while `first` is FIRST_NONE, no byte of it was read */
    SLOT_RUNNING = 0x69,   /* the function works on it */
    SLOT_REPLYING = 0x96,  /* the reply is being sent, or the rest of it waits for the client */
    SLOT_STREAMING = 0x99, /* the reply is a stream of events, and none is being sent at this moment */
    SLOT_PUSHING = 0xC3,   /* likewise, and an event may be sent at this moment */
    SLOT_ANSWERED = 0xCC,  /* the supervisor has answered instead, or ended the stream; the function still runs */
    SLOT_TAKEN = 0xF0, /* the supervisor has taken the unread connection (from WAITING): the worker closes its copy */
};

/* What becomes of a connection once all the bytes that the worker has begun to send are out. */
enum slot_then {
    THEN_CLOSED,
    THEN_UNREAD, /* kept alive, and no byte of the next request was read: as WAITING */
    THEN_TAKEN,  /* kept alive, and a part of the next request was read with this one: as READING */
    THEN_EVENT,  /* a stream between two events */
    THEN_DONE,   /* a stream that lacks the event `done` and its end */
    THEN_END,    /* a stream that lacks only its end */
};

/* The state is in the low bits of a word. The bits above it count the requests that the slot was used for: they change
 * with each connection, and with each further request of a connection that is kept alive. So a compare-and-exchange
 * that was meant for one request fails if another has come. */
enum { SLOT_STATE_BITS = 8 };
#define SLOT_STATE(word) ((word) & ((UINT32_C(1) << SLOT_STATE_BITS) - 1))

/* Why a worker accepts no more connections although it may be idle. When the worker sets it, it also sends
 * CONTROL_WATCH, so that the supervisor looks at once. */
enum fullness {
    FULL_NOT,
    FULL_FOR_NOW, /* no slot, descriptor or memory for one more connection and none gives way yet, or no listening
                     socket. Tried again every 50 ms, for the queue as well: the worker counts as ready */
    FULL_STARVED, /* the function holds the descriptors (CONTROL_STARVED): the worker takes no connection, and is to be
                     replaced */
};

/* Why a request is to be cancelled. */
enum cancel_reason { CANCEL_TIMEOUT = 1, CANCEL_CLIENT_GONE, CANCEL_STOPPING };

struct scoreboard_slot {
    _Atomic uint32_t state;  /* the word described above */
    _Atomic int32_t fd;      /* number of the connection in the worker's table; -1 once that is closed */
    _Atomic uint32_t left;   /* bytes still to be sent of what was begun, as of the last send; LEFT_ALL: no byte of the
                                reply was sent. Read it by outlet_progress() */
    _Atomic uint16_t reason; /* enum cancel_reason; the supervisor writes it before `cancel` */
    _Atomic uint16_t protocol; /* enum protocol: how the supervisor would answer */
    uint8_t first;             /* first byte of the request, or FIRST_NONE. Read it by scoreboard_first() */
    _Atomic uint8_t then;      /* enum slot_then, as of the last send: holds once `left` is 0 */
    _Atomic uint8_t stored;    /* a duplicate lies in the fdstore entry of this number */
    _Atomic uint8_t kept;      /* a request was answered before: a client that sends no other expects no reply */
    _Atomic uint8_t unchunked; /* a stream without chunked encoding: its end is the end of the connection */
    uint8_t id_size;           /* bytes of board.ids that name the request; 0: it has no id */
    uint8_t trace_size;        /* likewise of board.traces */
    _Atomic uint8_t pending;   /* 1 + the row of the tally (tally.h) in which the worker will count the request; 0: that
                                  is   not decided, or it is counted, or there is nothing to count */
    _Atomic uint8_t recorded;  /* the request lies in a file (record.h) */
    _Atomic uint64_t since;    /* clock_now() when the function was called */
    _Atomic uint64_t began;    /* clock_now() when the first byte of the request was there */
    _Atomic uint64_t sequence; /* number of the request that runs here, from 1 */
    _Atomic uint64_t cancel;   /* the supervisor writes it: sequence of the request to cancel */
    _Atomic uint64_t deadline; /* clock_now() when the function must stop for its caller's deadline; 0: it has none, or
                                  it is not known yet */
};

enum { SCOREBOARD_ID_MAX = 64, SCOREBOARD_TEXT_SIZE = 128, SCOREBOARD_TRACE_SIZE = 55 };

#define FIRST_NONE UINT8_MAX /* no message begins with it */
#define LEFT_ALL   UINT32_MAX

#define OUTLET_NO_SLOT UINT32_MAX
#define OUTLET_UNSENT  UINT32_MAX

#define SCOREBOARD_WATCHED UINT32_C(0x57415443) /* not 1, which a stray write could set: then nobody would watch */

#define SCOREBOARD_SERVING UINT32_C(0x53455256) /* likewise */

#define OWN_EXIT UINT32_C(0x4F574E00) /* above the exit status; a stray write hardly looks like it */

#define MEMORY_DENIED UINT32_C(0x4D454D21) /* likewise */

/* What the worker is reading now. The kernel writes the first byte of the request into scratch[0] as it takes the byte
 * from the socket; after the read the worker copies it to the slot. */
struct scoreboard_inlet {
    _Atomic uint32_t slot; /* the request's slot; OUTLET_NO_SLOT between two reads */
};

/* What the worker is sending now (server/outlet.h). */
struct scoreboard_outlet {
    _Atomic uint32_t slot;  /* the reply's slot; OUTLET_NO_SLOT between two sends */
    uint64_t before;        /* tally.counts.sent before this call */
    uint32_t left;          /* bytes that are given to the kernel in this call */
    uint8_t then;           /* enum slot_then: holds once all of them are out */
    struct mmsghdr message; /* the kernel writes the bytes sent into its msg_len; OUTLET_UNSENT before */
};

/* The function may write over the scoreboard by mistake (a wild pointer, a buffer that is too short). Damage to one
 * slot shows in its state, which is then not a defined one. Damage to a large part shows in these guard words, which
 * the runtime does not change between scoreboard_reset() and scoreboard_note_overwritten(). A worker whose scoreboard
 * is not intact is replaced. */
struct scoreboard_guard {
    _Atomic uint64_t word;
};

/* Four guards with four values, so that copying one part of the scoreboard over another is noticed too. */
enum scoreboard_place { GUARD_HEAD, GUARD_SLOTS, GUARD_IDS, GUARD_END };
#define SCOREBOARD_GUARD(place) (UINT64_C(0xA57A6A5D3C96E100) + (uint64_t)(place))

/* The last result of the function's own health check. */
enum checkup { CHECKUP_NONE, CHECKUP_PASSED, CHECKUP_FAILED };

struct scoreboard {
    struct scoreboard_guard guard_head;
    _Atomic uint64_t health_since;          /* clock_now() when the health check that runs now began; 0: none runs */
    _Atomic uint32_t health;                /* enum checkup */
    _Atomic uint32_t unwell;                /* the supervisor writes it: the health check of some worker fails */
    char health_text[SCOREBOARD_TEXT_SIZE]; /* how it failed, a verb phrase; written before `health` */
    _Atomic uint64_t requests;              /* requests the function was called for */
    _Atomic uint64_t failures;              /* of these, how many were answered with an error */
    _Atomic uint64_t refused;               /* requests answered with an error before any call */
    _Atomic uint64_t turns;    /* rounds of the worker's loop; does not change while a function blocks it */
    _Atomic uint32_t holding;  /* connections that the worker holds */
    _Atomic uint32_t running;  /* requests that the service has */
    _Atomic uint32_t queued;   /* requests that wait for it */
    _Atomic uint32_t busy;     /* the loop is in the function: a new connection must wait or go to another worker */
    _Atomic uint32_t watched;  /* SCOREBOARD_WATCHED: the supervisor looks at this scoreboard every tick; it clears this
                                  when nothing runs */
    _Atomic uint32_t awaited;  /* set while the supervisor accepts in place of the worker: it wants to be told when the
                                  loop turns again */
    _Atomic uint32_t full;     /* enum fullness: not FULL_NOT while the worker takes no more connections */
    _Atomic uint32_t closing;  /* the supervisor is about to end the worker: keep no connection alive */
    _Atomic uint32_t serving;  /* SCOREBOARD_SERVING: the worker may have clients, see scoreboard_begin_serving() */
    _Atomic uint32_t draining; /* probes are told that no messages are taken (POST /drain) */
    _Atomic uint32_t level;    /* enum log_level and 1; 0: as it was at the start of the worker. NEWS_SIGNAL follows */
    _Atomic uint32_t stacks_wanted;  /* how often the worker was asked for the stacks of its tasks; likewise */
    _Atomic uint32_t stacks_written; /* the last of these that it has written */
    _Atomic uint32_t own_exit;       /* see scoreboard_note_exit() */
    _Atomic uint32_t memory_denied; /* MEMORY_DENIED: the process aborts because memory was refused (python/memory.h) */
    struct scoreboard_outlet outlet;
    struct scoreboard_inlet inlet;
    char waits_for[SCOREBOARD_TEXT_SIZE]; /* what a worker that has nothing more to serve waits for before it ends; for
                                             the log */
    struct incident_ring incidents;       /* the last errors it has answered */
    struct tally tally;                   /* what the worker counts */
    struct mark_counts printed[MARK_STREAMS];
    struct scoreboard_guard guard_slots;
    struct scoreboard_slot slots[SLOTS_MAX];
    struct scoreboard_guard guard_ids;
    char ids[SLOTS_MAX][SCOREBOARD_ID_MAX]; /* by slot: the request's id from the client, cut to this size, for log
                                               lines. Not in the slots, since those are searched often. Not cleared for
                                               a new worker: its length id_size is */
    char traces[SLOTS_MAX][SCOREBOARD_TRACE_SIZE]; /* likewise the request's traceparent (W3C Trace Context), which is
                                                      that long; a longer one is cut */
    struct scoreboard_guard guard_end;
    unsigned char scratch[SCRATCH_SIZE]; /* the worker reads into it; the supervisor looks only at the first byte */
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

/* The number of the slot that notes this descriptor of the worker's as its connection, or SLOTS_MAX. */
uint32_t scoreboard_find(const struct scoreboard *board, int32_t fd);

/* The first byte that was read of the request in this slot, or FIRST_NONE. For the supervisor: exact once the worker is
 * dead, at whatever moment that was; for a living worker it may be late by a moment. */
uint8_t scoreboard_first(const struct scoreboard *board, uint32_t slot);

/* Prepares the scoreboard for a new worker. */
void scoreboard_reset(struct scoreboard *board);

/* The worker is dead: completes what it was counting, and counts what it had sent (tally.h). */
void scoreboard_settle(struct scoreboard *board);

/* No guard word was overwritten. */
static inline bool scoreboard_is_intact(const struct scoreboard *board)
{
    return atomic_load_explicit(&board->guard_head.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_HEAD) &&
           atomic_load_explicit(&board->guard_slots.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_SLOTS) &&
           atomic_load_explicit(&board->guard_ids.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_IDS) &&
           atomic_load_explicit(&board->guard_end.word, memory_order_relaxed) == SCOREBOARD_GUARD(GUARD_END);
}

/* No guard word was overwritten, and every slot's state is a defined one. */
bool scoreboard_is_plausible(const struct scoreboard *board);

/* A slot was found overwritten: from now on scoreboard_is_intact() is false. */
void scoreboard_note_overwritten(struct scoreboard *board);

/* Whether `state` is a defined one. If not, the slot was overwritten. */
bool slot_is_state(enum slot_state state);

static inline enum slot_state slot_state(const struct scoreboard_slot *slot)
{
    return (enum slot_state)SLOT_STATE(atomic_load_explicit(&slot->state, memory_order_acquire));
}

/* Moves from one state to another by compare-and-exchange. False if the slot was not in `from`: then nothing has
 * changed. */
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

/* The worker calls this once the function is loaded, before it accepts a connection. False: the supervisor has begun to
 * end this worker, and relies on it that the worker has no clients. */
static inline bool scoreboard_begin_serving(struct scoreboard *board)
{
    atomic_store_explicit(&board->serving, SCOREBOARD_SERVING, memory_order_seq_cst);
    return atomic_load_explicit(&board->closing, memory_order_seq_cst) == 0;
}

/* The supervisor calls this before it ends the worker. False: the worker has no clients, and will accept none. Whether
 * it has sent CONTROL_READY does not tell: the message may not have been read yet. */
static inline bool scoreboard_close(struct scoreboard *board)
{
    atomic_store_explicit(&board->closing, 1, memory_order_seq_cst);
    return atomic_load_explicit(&board->serving, memory_order_seq_cst) == SCOREBOARD_SERVING;
}

/* An exit status alone does not tell who chose it: the function may call os._exit() with any number, also one of ours.
 * So a worker that ends by itself first logs why, then notes `code` on the scoreboard. A status that was not noted is
 * the function's. `board` may be NULL: nobody watches. */
static inline void scoreboard_note_exit(struct scoreboard *board, int code)
{
    if (board != NULL) {
        atomic_store_explicit(&board->own_exit, OWN_EXIT | (uint32_t)code, memory_order_release);
    }
}

/* Whether the worker, which has exited with `code`, had noted that. */
static inline bool scoreboard_has_noted_exit(const struct scoreboard *board, int code)
{
    return atomic_load_explicit(&board->own_exit, memory_order_acquire) == (OWN_EXIT | (uint32_t)code);
}

/* Notes the client's id, or the traceparent, of the request that runs in `slot`. The worker calls this. */
void scoreboard_note_id(struct scoreboard *board, struct scoreboard_slot *slot, struct view id);
void scoreboard_note_trace(struct scoreboard *board, struct scoreboard_slot *slot, struct view traceparent);

#endif
