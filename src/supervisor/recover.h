/*
 * Connections without a worker: those of a dead worker, those that wait for a worker ("orphans"), and those still
 * waiting at the end of a stop. Each gets exactly one reply, or goes unread to a living worker. Everything read from an
 * fdstore entry or a scoreboard is checked, since the function can write to both.
 */
#ifndef ASYA_SUPERVISOR_RECOVER_H
#define ASYA_SUPERVISOR_RECOVER_H

#include "base/error.h"
#include "server/fdholder.h"
#include "server/listener.h"
#include "server/scoreboard.h"
#include "supervisor/worker.h"
#include "wire/protocol.h"

#include <stdbool.h>
#include <stdint.h>

/* How many connections may wait for a worker: as many as a backlog usually takes, so that a health check behind them is
 * still accepted. */
enum { ORPHANS_MAX = 4096 };

enum wants {
    WANTS_UNSEEN,  /* not looked at yet */
    WANTS_SILENT,  /* has sent nothing */
    WANTS_REST,    /* has sent a part of a request */
    WANTS_HEALTH,  /* asks whether messages are taken */
    WANTS_ALIVE,   /* asks whether the runtime lives */
    WANTS_NOTHING, /* has disconnected */
    WANTS_WORKER,  /* has sent a request for a worker; not looked at again */
};

/* Connections nobody has read from yet, waiting for a worker. */
struct orphans {
    enum protocol protocol; /* ASYA_PROTOCOL */
    int numbers_end;        /* descriptors from this number on are reserved for other work; 0: none are */
    uint32_t count;
    int fds[ORPHANS_MAX];
    uint64_t since[ORPHANS_MAX]; /* clock_now() when it was added, or when the next request of a kept one came */
    bool kept[ORPHANS_MAX];      /* kept alive between two HTTP requests */
    enum wants wants[ORPHANS_MAX];
};

/* False if there are ORPHANS_MAX, or if the table of descriptors is full up to numbers_end. */
bool orphans_have_room(const struct orphans *orphans);

/* Takes over `connection`; `kept`: it is an HTTP connection on which requests were answered before. False if there is
 * no room: it stays the caller's. */
bool orphans_add(struct orphans *orphans, int connection, bool kept, uint64_t now);

/* A kept connection whose next request has not begun. */
static inline bool orphans_is_idle(const struct orphans *orphans, uint32_t index)
{
    return orphans->kept[index] && orphans->wants[index] == WANTS_SILENT;
}

/* Removes number `index` without closing it: its connection belongs to somebody else now. */
void orphans_remove(struct orphans *orphans, uint32_t index);

struct recovered {
    uint32_t answered;              /* got an error reply because their request was running */
    uint32_t handed_on;             /* kept for the next worker */
    uint32_t partial;               /* were told to send their request again: it was read only in part */
    uint64_t found[SLOTS_MAX / 64]; /* a bit for each slot whose connection was dealt with */
};

/* The connections of one dead worker: what is known about them, and what was done so far. */
struct recovery {
    const struct scoreboard *board; /* the worker's */
    bool is_overwritten;            /* the scoreboard is not intact */
    const struct run *runs;         /* what the supervisor remembers of it, by slot */
    struct orphans *orphans;        /* where unread ones go */
    const struct error *died;       /* the reply to a request that was running */
    const struct error *late;    /* the reply to a request over its time limit, whose slot has its bit in `overdue` */
    const struct error *expired; /* likewise where that was its caller's deadline; may be NULL */
    uint64_t timeout;            /* ASYA_HANDLER_TIMEOUT in ns, which tells the two apart */
    uint64_t overdue[SLOTS_MAX / 64];
    struct recovered done;
};

/* Empties the worker's fdstore entries, whose receiving ends are `receive_ends[0..count)`. A request that was running,
 * or of whose reply nothing was sent, gets an error reply. If a part of the reply was sent the connection is closed; if
 * all of it was, the connection is closed or kept alive as the worker would have done. A stream is ended. An unread
 * connection becomes an orphan. */
void recover_slots(struct recovery *recovery, const int *receive_ends, uint32_t count);

/* The same for connections from the worker's fdholder: those that are in no fdstore entry. One without a slot was
 * accepted and not read from. Takes ownership of all in `kept`. */
void recover_held(struct recovery *recovery, struct held *kept);

/* Asks the fdholder behind `channel` for its connections and calls recover_held() for all of them. Waits 250 ms at
 * most; false if the fdholder did not finish in that time, or does not exist. */
bool recover_from_fdholder(struct recovery *recovery, int channel);

/* Answers one connection with `err` and closes it in any case, and counts that (ledger.h): its request had begun to
 * arrive at `began`; 0: unknown. With PROTOCOL_AUTO its first byte, if one has arrived,
 * decides in which protocol. */
void recover_answer(int connection, enum protocol protocol, const struct error *err, uint64_t began);

/* Ends the stream of the connection that had this slot, and closes it. If nothing of it was sent, `err` is the reply.
 * If the last event was sent whole, the events `error` (with `err`) and `done` follow, unless they were sent already.
 * If an event was sent in part, nothing is added: then it returns false. The worker must be dead, or the slot's state
 * must keep it from sending: see outlet_progress. */
bool recover_end_stream(int connection, const struct scoreboard *board, uint32_t slot, const struct error *err);

enum health { HEALTH_NOT_READY, HEALTH_READY, HEALTH_ALIVE };

/* Answers a probe and closes the connection. */
void recover_health(int connection, enum health health);

/* Answers number `index` with `err` and removes it. `status` is the HTTP status; 0: the category's. A kept-alive
 * connection that has not begun its next request expects no reply and is only closed. */
void orphans_dismiss(struct orphans *orphans, uint32_t index, unsigned status, const struct error *err);

/* Puts orphan `index` into the queue to the workers. Returns 0; or -errno, and it stays an orphan: -EAGAIN if the queue
 * is full. */
int orphans_queue(struct orphans *orphans, uint32_t index, int queue);

/* No worker is up: takes the connections in the queue back, as far as there is room. */
void orphans_reclaim(struct orphans *orphans, int queue, uint64_t now);

/* Answers all orphans, and all connections in the backlog of `listener`, with `err`. */
void recover_dismiss(struct orphans *orphans, const struct listener *listener, const struct error *err);

#endif
