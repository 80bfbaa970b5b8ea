/*
 * One worker as the supervisor sees it: a process, its control channel, its fdstore entries and its scoreboard.
 *
 *   DOWN --spawn--> STARTING --CONTROL_READY--> READY --drain--> STOPPING
 *     ^                |                          |                 |
 *     +----------------+------- it died ----------+-----------------+
 *
 * A process that was sent SIGKILL and has not ended a second later is as good as dead: it is frozen, traced, or waits
 * in the kernel for a device, and no instruction of its program will run again. It is left behind, its place is DOWN,
 * and nobody waits for it: neither its clients, nor its successor, nor a stop.
 */
#ifndef ASYA_SUPERVISOR_WORKER_H
#define ASYA_SUPERVISOR_WORKER_H

#include "server/control.h"
#include "server/fdstore.h"
#include "server/scoreboard.h"
#include "wire/protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WORKER_NONE UINT32_MAX

enum worker_state { WORKER_DOWN, WORKER_STARTING, WORKER_READY, WORKER_STOPPING };

/* A request as the supervisor has seen it run: what it remembers whatever becomes of the scoreboard. */
struct run {
    bool is_running;
    bool streams;           /* when last looked at */
    bool gone;              /* its client went away and the function was told */
    enum protocol protocol; /* the form of a reply */
    uint32_t stage;         /* how far the measures against one that runs too long have gone, see deadline.h */
    uint64_t sequence;
    uint64_t since;
};

struct worker {
    enum worker_state state;
    uint32_t index;
    pid_t pid;   /* 0 while DOWN */
    int control; /* our end; -1 while DOWN */
    uint64_t started_at;
    uint64_t spawn_at;          /* while DOWN */
    uint64_t kill_at;           /* while STARTING, once it has run into ASYA_STARTUP_TIMEOUT; while it retires, once it
                                 * holds no request */
    uint32_t failures;          /* deaths in a row without a request answered or 30 s of health */
    bool vacant;                /* the place is not to be filled: it is for a replacement */
    bool grown;                 /* it is due for its memory */
    bool for_grown;             /* it was started to replace one that was */
    bool looked_at;             /* its memory, after its first request */
    bool large;                 /* it exceeded ASYA_MAX_RSS from the beginning: it is not replaced for that */
    bool terminated;            /* it retires and would not end: it got SIGTERM */
    bool due;                   /* the process shall be replaced */
    uint32_t replaces;          /* index of the worker it replaces, or WORKER_NONE */
    bool oom_known;             /* oom_kills could be read when it started */
    uint64_t oom_kills;         /* of its cgroup by then */
    uint64_t progress;          /* turns and requests at the last tick */
    uint64_t nudged;            /* its progress when it was told to look at the queue */
    bool is_still;              /* none since the tick before */
    bool was_full;              /* at the last tick it took no more connections */
    bool overran;               /* it is ended for a function that does not stop at its time limit */
    bool wedged;                /* a function does not stop, and others run beside it: to be replaced */
    bool stopped;               /* by SIGSTOP or the like */
    uint64_t stopped_at;        /* since when it is */
    uint64_t deaf_at;           /* when it is killed, since it has closed its end of the channel; or CLOCK_NEVER */
    uint64_t killed_at;         /* when SIGKILL was sent first; or CLOCK_NEVER */
    bool overwritten;           /* the function wrote over the scoreboard; it is ended for that */
    bool timed_out;             /* it ran into ASYA_STARTUP_TIMEOUT */
    struct scoreboard *board;   /* shared with the process; lives as long as the supervisor */
    int stack;                  /* where the process writes its Python stacks; -1 while DOWN */
    int fdholder;               /* the channel to its fdholder; -1 while DOWN */
    struct run runs[SLOTS_MAX]; /* by slot */
    char late[SLOTS_MAX][SCOREBOARD_ID_MAX + 1]; /* by slot, from stage 1 on: what that request is called */
    struct fdstore fdstore;                      /* while the process lives we hold the receiving ends only */
};

/* What is the new process's alone; closed in the supervisor after the fork. */
struct worker_ends {
    int control;  /* its end of the control channel */
    int stack;    /* where its Python stacks are written; non-blocking */
    int fdholder; /* its fdholder's end */
};

#define WORKER_ENDS_NONE ((struct worker_ends){.control = -1, .stack = -1, .fdholder = -1})

/* What the new process gets of its parent's making. All borrowed from the worker. */
struct worker_seat {
    uint32_t index;
    int listener;
    int control;  /* its end */
    int queue;    /* connections the supervisor hands on; all workers share it */
    int fdholder; /* its fdholder's end of the fdholder's channel */
    int stack;    /* where its Python stacks are written; non-blocking */
    struct fdstore *fdstore;
    struct scoreboard *board;
};

/* What the caller does around and after a fork. */
struct worker_hooks {
    void *context;
    void (*before_fork)(void *context);
    void (*after_fork)(void *context, bool in_child);
    /* The worker's life, in the worker's process; the value is its exit code. */
    int (*run)(void *context, const struct worker_seat *seat);
};

/* Prepares the shared page. Returns 0 or -errno. */
int worker_init(struct worker *worker, uint32_t index);

/* Makes channels and slots for a new process, before the fork. Returns 0 or -errno. */
int worker_prepare(struct worker *worker, struct worker_ends *ret_ends);

/* Nanoseconds before the next start after so many failures in a row: none, then 100 ms, doubling to 10 s. Pure. */
uint64_t worker_restart_delay(uint32_t failures);

/* Closes what is open of them. */
void worker_ends_done(struct worker_ends *ends);

/* After the fork, in the supervisor: closes what is the worker's alone. */
void worker_forked(struct worker *worker, pid_t pid, struct worker_ends *ends, uint64_t now);

/* It is about to be told to end: STOPPING, and it keeps no connection alive for a next request, not even that of a
 * function which keeps it from hearing so. */
void worker_end(struct worker *worker);

/* The process has ended and its slots were emptied: closes everything that was its. */
void worker_ended(struct worker *worker);

/* In another worker's process, right after its fork: lets go of this worker. */
void worker_forget(struct worker *worker);

/* Takes over the receiving ends of further slots, -1 for one there was no descriptor for. Closes what does not fit, and
 * numbers from `end` on, which are kept free. Returns how many can be used. */
uint32_t worker_add_slots(struct worker *worker, int *fds, uint32_t count, int end);

/* Gives a living process another socket to take connections from. One that cannot be told is killed: its successor
 * inherits the socket. Not one whose channel has ended, which may still have a reply to send, and is ended anyway. */
void worker_give(struct worker *worker, enum control_type type, int fd);

/* A duplicate of the connection that has place `slot` on the scoreboard, as fdstore_peek gives it. */
int worker_peek(const struct worker *worker, uint32_t slot);

/* Frees the shared page. */
void worker_drop_board(struct worker *worker);

/* What the process has written of its stacks since the last call, as NUL-terminated text; "" if nothing. What was
 * written of one call (STACK_MARK) comes first; not more than fits into a line of the log. */
void worker_read_stack(const struct worker *worker, char *text, size_t size);

/* Signals the process. What else is in its process group has its time once it is dead (remains.h). */
void worker_kill(struct worker *worker, int signal);

/* Whether it was killed and has not ended in the time that takes. `*next` is set to when to ask again, if that is
 * earlier. */
bool worker_is_lost(const struct worker *worker, uint64_t now, uint64_t *next);

/* It is left behind: what its process still holds is not shared with the next one. */
void worker_lose(struct worker *worker);

#endif
