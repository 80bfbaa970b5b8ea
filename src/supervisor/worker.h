/*
 * One worker as the supervisor sees it: a process, its control channel, its fdstore entries and its scoreboard.
 *
 *   DOWN --spawn--> STARTING --CONTROL_READY--> READY --drain--> STOPPING
 *     ^                |                          |                 |
 *     +----------------+------- it died ----------+-----------------+
 *
 * Where there are spares (ASYA_SPARES) a worker that has loaded is a SPARE until it is told to serve (spares.c).
 *
 * A process that has not ended a second after SIGKILL counts as dead: it is frozen, traced, or waits in the kernel for
 * a device, and it will not run another instruction of its program. It is abandoned and the worker is DOWN: its clients
 * get their replies, its successor starts, and a stop does not wait for it.
 */
#ifndef ASYA_SUPERVISOR_WORKER_H
#define ASYA_SUPERVISOR_WORKER_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/series.h"
#include "server/control.h"
#include "server/fdstore.h"
#include "server/record.h"
#include "server/scoreboard.h"
#include "supervisor/incidents.h"
#include "supervisor/ledger.h"
#include "supervisor/lines.h"
#include "wire/protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WORKER_NONE UINT32_MAX
#define STILL_AFTER (10 * CLOCK_SECOND) /* of loading: that is said then, and again each time the time has doubled */

enum worker_state { WORKER_DOWN, WORKER_STARTING, WORKER_SPARE, WORKER_READY, WORKER_STOPPING };

/* A running request as the supervisor last saw it. The function can write over the scoreboard, but not over this. */
struct run {
    bool is_running;
    bool streams;           /* when last looked at */
    bool gone;              /* its client has disconnected and the function was told */
    enum protocol protocol; /* in which its reply is written */
    uint32_t step;          /* what to do next if it is over its time limit, an enum deadline_step */
    uint64_t sequence;
    uint64_t since;
    uint64_t deadline;    /* its caller's, as the scoreboard has it; 0: none */
    struct record record; /* its file, from when its time limit has ended: the slot may serve another request soon */
};

struct worker {
    enum worker_state state;
    uint32_t index;
    pid_t pid;   /* 0 while DOWN */
    int control; /* our end; -1 while DOWN */
    uint64_t started_at;
    uint64_t spawn_at;          /* while DOWN */
    uint64_t still_at;          /* while STARTING: when to log again that it loads */
    uint64_t kill_at;           /* if it takes too long to start, or to end; or CLOCK_NEVER */
    uint32_t ends[LEDGER_ENDS]; /* how many of its processes have ended so */
    uint32_t failures;          /* deaths in a row without a request answered or 30 s of life */
    bool vacant;                /* this entry is kept free for a replacement: no worker is started in it */
    bool is_apart;              /* it has a new scoreboard, which the template that lives does not know */
    bool spare;                 /* a worker that is started in it waits for one that serves to be missing */
    bool grown;                 /* it is to be replaced because of its memory */
    bool for_grown;             /* it replaces one that was to be replaced because of its memory */
    bool looked_at;             /* its memory was checked after its first request */
    bool large;                 /* it exceeded ASYA_MAX_RSS from the beginning, so it is not replaced for that */
    bool terminated;            /* it retires, did not end by itself and got SIGTERM */
    bool due;                   /* the process is to be replaced */
    uint32_t replaces;          /* index of the worker it replaces, or WORKER_NONE */
    bool oom_known;             /* oom_kills was readable when it started */
    uint64_t oom_kills;         /* OOM kills of its cgroup when it started */
    uint64_t progress;          /* loop turns plus requests, at the last tick */
    uint64_t nudged;            /* its progress when it was last told to look at the queue */
    bool is_still;              /* no progress between the last two ticks */
    uint64_t blocked_since;     /* nothing runs in it, and it does not come back to its loop; or CLOCK_NEVER */
    bool was_full;              /* at the last tick it took no more connections */
    bool overran;               /* it is being killed because a function did not stop at its time limit */
    bool wedged;                /* a function does not stop while other requests run: replace it, do not kill it */
    bool stopped;               /* by SIGSTOP or the like */
    uint64_t stopped_at;        /* when it was stopped */
    uint64_t stacks_at;         /* when stacks that it wrote at a time limit were last read; 0: not yet */
    uint64_t deaf_at;           /* when to kill it because its control channel was closed; or CLOCK_NEVER */
    uint64_t killed_at;         /* when SIGKILL was sent first; or CLOCK_NEVER */
    bool overwritten;           /* the function wrote over the scoreboard, and it is being killed for that */
    bool unwell;                /* its health check fails, and that was logged */
    bool timed_out;             /* ASYA_STARTUP_TIMEOUT passed while it was loading */
    struct scoreboard *board;   /* shared with the process; lives as long as the supervisor */
    struct tally seen;          /* what was last read of board->tally */
    uint64_t cpu;               /* ns that its dead processes have used */
    uint64_t cpu_shown;         /* and with the living one, as last said */
    int stack;                  /* where the process writes its Python stacks; -1 while DOWN */
    int fdholder;               /* the channel to its fdholder; -1 while DOWN */
    int printed[MARK_STREAMS];  /* what it prints; -1 while DOWN, or without ASYA_CAPTURE_OUTPUT */
    struct lines *lines;        /* of each of these, which are kept; borrowed; NULL without */
    struct run runs[SLOTS_MAX]; /* by slot */
    char late[SLOTS_MAX][SCOREBOARD_ID_MAX + 1]; /* by slot: the id of a request that ran into its time limit */
    struct buffer snapshot;                      /* what it has written of its stacks for snapshot.c */
    struct incidents *incidents;                 /* where its errors are kept; borrowed; NULL in tests */
    uint32_t incidents_seen;                     /* of those that it has noted */
    uint32_t snapshot_number;                    /* for which snapshot it was asked last */
    struct fdstore fdstore;                      /* we hold only the receiving ends, once the process was forked */
};

/* Descriptors for the new process only; closed in the supervisor after the fork. */
struct worker_ends {
    int control;  /* its end of the control channel */
    int stack;    /* where its Python stacks are written; non-blocking */
    int fdholder; /* its fdholder's end */
    int printed[MARK_STREAMS];
};

#define WORKER_ENDS_NONE ((struct worker_ends){.control = -1, .stack = -1, .fdholder = -1, .printed = {-1, -1}})

/* What a new worker process gets from the supervisor. All borrowed from struct worker. */
struct worker_seat {
    uint32_t index; /* from 0, and no other that lives has it: ASYA_WORKERS and ASYA_SPARES at most */
    bool is_loaded; /* it was forked from the template */
    int listener;
    int control;               /* its end */
    int queue;                 /* connections the supervisor hands on; all workers share it */
    int fdholder;              /* its fdholder's end of the fdholder's channel */
    int stack;                 /* where its Python stacks are written; non-blocking */
    int printed[MARK_STREAMS]; /* what standard output and error are to become, or -1 */
    const struct mark_head *mark_head;
    struct fdstore *fdstore;
    struct scoreboard *board;
    struct series *series; /* the function's own metrics, which all workers share */
};

/* What app/serve.c does around and after a fork. */
struct worker_hooks {
    void *context;
    const char *python; /* the interpreter's version, for people; may be NULL */
    /* Whether a request to end came before the supervisor's handlers were in place, and was noted by the interpreter,
     * which will not act on it any more. May be NULL. */
    bool (*was_interrupted)(void *context);
    void (*before_fork)(void *context);
    void (*after_fork)(void *context, bool in_child);
    /* In the worker's process: loads the function and serves until the end. Returns the exit code. */
    int (*run)(void *context, const struct worker_seat *seat);
    /* In the template's process: loads the function, or ends the process. */
    void (*load)(void *context, const struct worker_seat *seat);
    /* Whether what it has loaded is out of date. */
    bool (*is_stale)(void *context);
};

/* For a line of the log about a worker that has a process. */
#define WORKER_FACTS(one) (&(struct log_facts){.worker = (one)->index, .pid = (int)(one)->pid})

/* Allocates the scoreboard. Returns 0 or -errno. */
int worker_init(struct worker *worker, uint32_t index);

/* Before the fork: makes the channels and the first fdstore entries. `template`: the process is going to be forked from
 * it, makes its entries itself, and its marks are the template's; NULL: from us. Returns 0 or -errno. */
int worker_prepare(struct worker *worker, const struct worker *template, struct worker_ends *ret_ends);

/* Nanoseconds before the next start after so many failures in a row: none, then 100 ms, doubling to 10 s. Pure. */
uint64_t worker_restart_delay(uint32_t failures);

/* Closes those that are open. */
void worker_ends_done(struct worker_ends *ends);

/* After the fork, in the supervisor: closes the worker's ends and begins to count its life. */
void worker_forked(struct worker *worker, pid_t pid, struct worker_ends *ends, uint64_t now);

/* Before the worker is told to end: sets STOPPING, and tells it on the scoreboard not to keep connections alive. A
 * worker whose function blocks its loop reads the scoreboard before it hears the message. */
void worker_end(struct worker *worker);

/* Closes the supervisor's ends of its channels and pipes. */
void worker_close(struct worker *worker);

/* The process has ended and its fdstore entries were emptied: closes everything that belonged to it. */
void worker_ended(struct worker *worker);

/* In another worker's process, right after its fork: drops everything of this worker. */
void worker_forget(struct worker *worker);

/* Takes over the receiving ends of further fdstore entries; -1 stands for one that could not be received for want of
 * descriptors. Closes those beyond SLOTS_MAX, and numbers from `end` on, which are reserved. Returns how many can be
 * used. */
uint32_t worker_add_slots(struct worker *worker, int *fds, uint32_t count, int end);

/* Tells a living process something; with another socket to take connections from, or -1. If that fails the process is
 * killed: its successor inherits the socket, or need not be told. It is not killed if it has closed its channel: it may
 * still be sending a reply, and it is ended for the closed channel anyway. */
void worker_give(struct worker *worker, enum control_type type, int fd);

/* A duplicate of the connection in slot `slot` of the scoreboard, as fdstore_peek gives it. */
int worker_peek(const struct worker *worker, uint32_t slot);

/* Frees the scoreboard. */
void worker_drop_board(struct worker *worker);

enum { WORKER_STACK_SIZE = 12 << 10 }; /* bytes of stacks for which a record of the log has room */

/* The Python stacks that the process has written since the last call, as NUL-terminated text; "" if none. The stack of
 * the request concerned (STACK_MARK) comes first. A longer text loses its end. */
void worker_read_stack(const struct worker *worker, char *text, size_t size);

/* Signals the process alone. The rest of its process group is dealt with after its death (remains.h). */
void worker_kill(struct worker *worker, int signal);

/* Whether it should have ended by now: it was sent SIGKILL a second ago. `*next` is set to when to ask again, if that
 * is earlier. */
bool worker_is_lost(const struct worker *worker, uint64_t now, uint64_t *next);

/* Abandons its process, with a new scoreboard for the next one: the old process may still have the old one mapped. */
void worker_lose(struct worker *worker);

#endif
