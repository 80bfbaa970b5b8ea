/*
 * Connections without a worker: what a dead worker left, and those still queued at a stop. Each gets one reply, or goes
 * on to a living worker as it is. Everything a slot or a scoreboard holds is checked.
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

/* Unread connections that may wait for a worker. Health is asked for behind those that wait: so there are as many as a
 * backlog usually takes. */
enum { ORPHANS_MAX = 4096 };

enum wants {
    WANTS_UNSEEN,  /* not looked at yet */
    WANTS_SILENT,  /* has sent nothing */
    WANTS_REST,    /* has sent a part of a request */
    WANTS_HEALTH,  /* is to be told whether a worker is ready */
    WANTS_NOTHING, /* is gone */
    WANTS_WORKER,  /* has sent what only a worker answers; not looked at again */
};

/* Connections nobody has read from yet, waiting for a worker. */
struct orphans {
    enum protocol protocol; /* ASYA_PROTOCOL: what they may speak */
    int numbers_end;        /* the descriptors they may have; those from here on are for other work. 0: any */
    uint32_t count;
    int fds[ORPHANS_MAX];
    uint64_t since[ORPHANS_MAX]; /* clock_now() when it came here; oldest first */
    bool kept[ORPHANS_MAX];      /* between two requests of HTTP */
    enum wants wants[ORPHANS_MAX];
};

/* False if there are as many as there may be, or as the table of descriptors allows. */
bool orphans_have_room(const struct orphans *orphans);

/* Takes over `connection`; `kept`: it is an HTTP connection on which requests were answered before. False if there is
 * no room: it stays the caller's. */
bool orphans_add(struct orphans *orphans, int connection, bool kept, uint64_t now);

/* Forgets number `index`, whose connection is somebody else's now. */
void orphans_remove(struct orphans *orphans, uint32_t index);

struct recovered {
    uint32_t answered;              /* got the reply for what was running */
    uint32_t handed_on;             /* kept for the next worker */
    uint32_t partial;               /* their request was only partly read: told to send it again */
    uint64_t found[SLOTS_MAX / 64]; /* a bit for each slot whose connection was dealt with */
};

/* The connections of one dead worker: what is known of them, and what has become of them so far. */
struct recovery {
    const struct scoreboard *board; /* of the worker */
    bool is_overwritten;            /* the scoreboard is not intact */
    const struct run *runs;         /* what the supervisor remembers of it, by slot */
    struct orphans *orphans;        /* where unread ones go */
    const struct error *died;       /* the reply to a request that was running */
    const struct error *late;       /* the reply to one that had run into its time limit, where `overdue` has its bit */
    uint64_t overdue[SLOTS_MAX / 64];
    struct recovered done;
};

/* Empties the worker's slots, whose receiving ends are `receive_ends[0..count)`. A request that was running, or whose
 * reply had not begun to go out, is answered; a reply that had is cut, or if it was whole the connection is what it
 * would have become; a stream is ended; an unread connection goes to the orphans. */
void recover_slots(struct recovery *recovery, const int *receive_ends, uint32_t count);

/* The same for the connections that the worker's fdholder has found in its table and that were not in an fdstore entry.
 * One that has no place on the scoreboard was accepted and not read from. Takes all that `kept` holds. */
void recover_held(struct recovery *recovery, struct held *kept);

/* recover_held() for all that the fdholder behind `channel` has, as it comes. Waits for it, 250 ms at most; false if it
 * did not give all by then, or there is none. */
bool recover_from_fdholder(struct recovery *recovery, int channel);

/* Answers one connection with `err` and closes it, whatever happens. PROTOCOL_AUTO: its first byte tells the form, if
 * it is there. */
void recover_answer(int connection, enum protocol protocol, const struct error *err);

/* Likewise, with an HTTP status that the category does not tell; 0: the category's. */
void recover_answer_http(int connection, enum protocol protocol, unsigned status, const struct error *err);

/* Ends the stream of the connection that had this slot of `page`, and closes it. Where nothing of it is out, `err` is
 * the reply; where all that is out is whole, the event `error` with `err` and the event `done` follow, as far as they
 * are not out already; where it ends within an event it is cut: then false. The worker must be dead or have been kept
 * from sending: see outlet_progress. */
bool recover_end_stream(int connection, const struct scoreboard *board, uint32_t slot, const struct error *err);

/* Answers a request for health and closes. */
void recover_health(int connection, bool ready);

/* Answers number `index` with `err`, and forgets it. `status` is the one of HTTP; 0: as the category says. One that was
 * kept alive for a next request and has not begun it wants no answer: it is closed. */
void orphans_dismiss(struct orphans *orphans, uint32_t index, unsigned status, const struct error *err);

/* Puts orphan `index` into the queue the workers take from. Returns 0; or -errno, and it stays: -EAGAIN for a full
 * queue.
 */
int orphans_queue(struct orphans *orphans, uint32_t index, int queue);

/* Takes back what lies in the queue, as far as there is room: no worker is up to take it. */
void orphans_reclaim(struct orphans *orphans, int queue, uint64_t now);

/* Answers the orphans, and whoever is queued on `listener`, with `err`. */
void recover_dismiss(struct orphans *orphans, const struct listener *listener, const struct error *err);

#endif
