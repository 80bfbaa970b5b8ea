/*
 * The supervisor's own state, shared by the files that make it up. Private to this folder.
 *
 * A file calls only files below it in this list, so whoever changes one knows whom that can reach. Where a lower one
 * finds that something is to happen further up, it returns that as its result (restart_after_death: an exit code;
 * signals_take: which signals came).
 *
 *   supervisor            the loop
 *   tend                  what is due for a worker
 *   spawn, reap           a worker begins, a worker has ended
 *   channel, restart      what a worker says, what follows its death
 *   socket_file, replace  the socket's file, the successor of a worker that lives
 *   stop                  the end of the runtime
 *   fallback              clients nobody else takes
 *   tick                  who gets on
 *   queue, deadline, descriptors, signals
 *   state, and what has a header of its own: recover, running, remains, worker, cause, cgroup, readyfile
 */
#ifndef ASYA_SUPERVISOR_STATE_H
#define ASYA_SUPERVISOR_STATE_H

#include "base/options.h"
#include "server/listener.h"
#include "supervisor/cause.h"
#include "supervisor/recover.h"
#include "supervisor/remains.h"
#include "supervisor/worker.h"

#include <signal.h>
#include <sys/epoll.h>

#define STATE_CHECK_INTERVAL (1 * CLOCK_SECOND) /* between looks at what nobody reports: sockets, files, memory */

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_STOPPING };

enum { LAST_DEATH_SIZE = CAUSE_TEXT_SIZE + 32 };

struct supervisor {
    const struct options *options;
    const struct worker_hooks *hooks;
    enum phase phase;
    int exit_code;
    bool is_quiet;      /* the start failed, and its cause is logged already */
    bool is_softened;   /* the grace period ends: functions that run were asked to stop */
    bool is_over_time;  /* and what is left is ended: what still runs is answered with server_error */
    bool rss_warned;    /* a fresh worker exceeds max_rss: it was said */
    bool fallback_open; /* the listening socket is ours to accept from */
    bool all_busy;      /* at the last tick no worker got on, and none has since */
    struct listener listener;
    int epoll;
    int signals; /* an eventfd: readable when one has come */
    sigset_t inherited_mask;
    uint64_t reaped_at;    /* when deaths were looked for, though no SIGCHLD came */
    uint64_t next_check;   /* of the socket's file and the workers' memory */
    uint64_t give_up_at;   /* while the socket's file is gone and cannot be put back; 0: it is there */
    uint64_t kill_at;      /* the end of the grace period; CLOCK_NEVER before the stop, and once it is over */
    uint64_t max_rss;      /* bytes; 0 is off */
    uint32_t worker_count; /* places: ASYA_WORKERS, and one for a replacement */
    struct worker *workers;
    struct orphans orphans;
    struct remains remains;           /* what dead workers have left */
    int queue_send;                   /* connections on their way to whichever worker takes them first */
    int queue_receive;                /* shared with the workers */
    uint64_t fallback_opens_at;       /* not before */
    uint64_t fallback_looks_at;       /* next, at those who have not said what they want */
    int hand_error;                   /* why nothing could be handed on at the last attempt, -errno; 0 */
    uint64_t stuck_since;             /* if hand_error is set */
    uint64_t tick_at;                 /* of the next look at what runs; CLOCK_NEVER while nothing does */
    uint64_t alone_since;             /* since when no worker is up; CLOCK_NEVER while one is */
    uint32_t deaths;                  /* in a row, of workers that had answered nothing */
    char last_death[LAST_DEATH_SIZE]; /* what became of the last worker */
    /* descriptors.c */
    uint64_t inherited_numbers; /* the soft limit of descriptors the runtime was started with */
    int numbers_end;            /* from here on they are left for what must go on when there are no others */
    /* set in a worker's process, to unwind */
    bool is_worker;
    int worker_exit;
};

/* How many workers are in a state. */
uint32_t state_count(const struct supervisor *supervisor, enum worker_state state);

/* What health and the ready-file say: a worker is ready, and takes requests. One whose function holds its descriptors
 * is to be replaced and takes none. */
bool state_is_serving(const struct supervisor *supervisor);

/* ---- tend.c ---- */

/* Does what is due for a worker, by its state. Returns when it is to be called again. In a child that was forked for
 * that, it returns with is_worker set, after the worker's life. */
uint64_t tend_worker(struct supervisor *supervisor, struct worker *worker, uint64_t now);

/* ---- spawn.c ---- */

/* Forks a worker. In the child this returns with is_worker set, after its life. */
void spawn(struct supervisor *supervisor, struct worker *worker);

/* ---- reap.c ---- */

/* Reaps every ended child: workers, and orphans that were left to us as PID 1 or subreaper. */
void reap(struct supervisor *supervisor);

/* A worker that was killed does not end: what would follow its death follows now. */
void reap_lost(struct supervisor *supervisor, struct worker *worker);

/* ---- channel.c ---- */

/* Reads what a worker has to say on its control channel, and does what it asks for. */
void channel_read(struct supervisor *supervisor, struct worker *worker);

/* ---- restart.c ---- */

/* A worker's process has ended and was reaped, what it had said was heard: answers or hands on what it held, logs one
 * line, decides when the next one starts. EXIT_OK, or the exit code the runtime is to stop with: the first worker could
 * not load the function. */
int restart_after_death(struct supervisor *supervisor, struct worker *worker, struct cause *cause);

/* ---- socket_file.c ---- */

/* The first worker is ready: the socket appears at its path. */
void socket_file_publish(struct supervisor *supervisor);

/* Looks whether the socket's file is still there and ours, and puts it back. */
void socket_file_check(struct supervisor *supervisor);

/* The ready-file exists exactly while a worker is up. */
void socket_file_show_readiness(struct supervisor *supervisor);

/* ---- replace.c ---- */

/* The worker shall be replaced by a fresh one (ASYA_MAX_REQUESTS, ASYA_MAX_RSS, a function that does not stop). It
 * serves on until that is ready. */
void replace_worker(struct supervisor *supervisor, struct worker *worker, const char *reason);

/* A worker has become ready: if it replaces another, that one is told to retire. */
void replace_ready(struct supervisor *supervisor, struct worker *fresh);

/* A worker has ended: its place may be what a replacement waits for, and it what a replacement waits for. */
void replace_ended(struct supervisor *supervisor, const struct worker *worker);

/* Does what is due for a worker that retires; returns when it is to be called again. */
uint64_t replace_tend(struct supervisor *supervisor, struct worker *worker, uint64_t now);

/* Looks at a worker's memory; replace_check: at that of all, and at replacements that could not begin yet. */
void replace_look(struct supervisor *supervisor, struct worker *worker);
void replace_check(struct supervisor *supervisor);

/* ---- stop.c ---- */

/* Begins to stop: not ready at once; who is being served, or has connected, is still answered. */
void stop_begin(struct supervisor *supervisor, const char *reason, int exit_code);

/* When a process that was asked to end is killed: in a second, or where the runtime stops with what is left of the
 * grace period. */
uint64_t stop_term(const struct supervisor *supervisor, uint64_t now);

/* While the runtime stops: does what the end of the grace period asks for; returns when it is to be called again. */
uint64_t stop_tend(struct supervisor *supervisor, uint64_t now);

/* The stop is over time: every worker is killed, and what still runs is answered with server_error. */
void stop_now(struct supervisor *supervisor, const char *reason);

/* ---- fallback.c ---- */

/* The fallback acceptor: lets go of the listening socket; takes who is queued there; does what is due and returns when
 * it is to be called again. */
void fallback_close(struct supervisor *supervisor);
void fallback_accept(struct supervisor *supervisor);
uint64_t fallback_tend(struct supervisor *supervisor, uint64_t now);

/* At a stop: all who wait at the fallback acceptor go to the queue, for the workers answer it before they end. Returns
 * when to try again with those it had no room for. */
uint64_t fallback_hand_over(struct supervisor *supervisor, uint64_t now);

/* ---- tick.c ---- */

/* Looks at what runs, if it is time for that. Returns when the next time is; tick_wake: something runs now. */
uint64_t tick(struct supervisor *supervisor, uint64_t now);
void tick_wake(struct supervisor *supervisor, uint64_t now);

/* Takes back whom a worker that retires has accepted and not read: nobody waits for what it still runs. */
void tick_take_unread(struct supervisor *supervisor, struct worker *worker);

/* Once a second: a page that was written over, and what runs though nobody was told to watch it. */
void tick_check(struct supervisor *supervisor, uint64_t now);

/* Between ticks: whether a worker gets on, if none did. Reads the pages alone. */
void tick_look(struct supervisor *supervisor);

/* ---- queue.c ---- */

/* The queue of connections on their way to whichever worker takes them first: makes it, 0 or -errno; makes another one
 * where the function has shut it down, false if there is no other. queue_check: the same once a second. */
int queue_make(struct supervisor *supervisor);
bool queue_renew(struct supervisor *supervisor);
void queue_check(struct supervisor *supervisor);

/* At a tick: wakes workers that sleep though somebody waits in the queue. */
void queue_nudge(struct supervisor *supervisor);

/* ---- descriptors.c ---- */

/* Takes as many descriptors as the hard limit allows, and says what they are enough for if that is little. In a
 * worker's process: gives it the limit that a worker has. */
void descriptors_raise(struct supervisor *supervisor);
void descriptors_for_worker(const struct supervisor *supervisor);

/* ---- signals.c ---- */

/* signals_watch makes their descriptor and the epoll set it is in, and installs the handlers; false with errno, and
 * nothing done, if that cannot be had. signals_wait waits for events, for signals and until `deadline`, as epoll_wait
 * does, and is the only place where a signal is taken. signals_take returns those that came since the last call, a bit
 * for each number, and SIGCHLD once a second whether it came or not; signals_drain makes the descriptor wait again.
 * signals_close closes both descriptors; signals_restore puts the interpreter's handlers and mask back. */
bool signals_watch(struct supervisor *supervisor);
int signals_wait(struct supervisor *supervisor, struct epoll_event *events, int count, uint64_t deadline);
uint32_t signals_take(struct supervisor *supervisor, uint64_t now);
void signals_drain(const struct supervisor *supervisor);
void signals_close(struct supervisor *supervisor);
void signals_restore(const struct supervisor *supervisor);

#endif
