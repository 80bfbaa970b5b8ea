/*
 * The supervisor's own state, shared by the files that make it up. Private to this folder.
 *
 * A file calls only files below it in this list (tools/check_circles.py fails on a circle). If a lower file finds that
 * something has to be done further up, it returns that: restart_after_death() an exit code to stop with, signals_take()
 * the signals that came.
 *
 *   supervisor            the loop
 *   admin                 the control socket: who asks for what
 *   status, verbs         what is asked of the runtime, and its answers: what it says, what it does
 *   tend                  what is due for a worker
 *   spawn, reap           starting a worker; noticing that one has ended
 *   channel, restart      what a worker reports; what follows its death
 *   spares                who serves: a spare in place of a worker that is missing
 *   socket_file, replace  the socket's file; replacing a worker that lives
 *   stop                  the end of the runtime
 *   snapshot              where all workers are
 *   template              what workers are forked from
 *   capture               what workers print
 *   fallback              accepting while no worker does
 *   tick                  which workers make progress
 *   lack                  what the machine lacks for a start
 *   queue, deadline, descriptors, signals
 *   state, and what has a header of its own: metrics, recover, ledger, running, remains, worker, incidents, cause,
 *   cgroup, readyfile
 */
#ifndef ASYA_SUPERVISOR_STATE_H
#define ASYA_SUPERVISOR_STATE_H

#include "base/options.h"
#include "server/desk.h"
#include "server/listener.h"
#include "supervisor/cause.h"
#include "supervisor/recover.h"
#include "supervisor/remains.h"
#include "supervisor/worker.h"

#include <signal.h>
#include <sys/epoll.h>

#define STATE_CHECK_INTERVAL (1 * CLOCK_SECOND) /* between looks at what nobody reports: sockets, files, memory */

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_STOPPING };

/* How the runtime is, for people and probes. */
enum condition {
    CONDITION_LOADING,  /* no worker is ready, and one loads the function or is about to */
    CONDITION_READY,    /* messages are served */
    CONDITION_DRAINING, /* likewise, but probes are told otherwise (POST /drain) */
    CONDITION_CRASHING, /* no worker is ready, and several in a row have died or could not start */
    CONDITION_UNWELL,   /* messages are served, but the function's health check fails */
    CONDITION_STOPPING,
};

enum { HEALTH_TEXT_SIZE = SCOREBOARD_TEXT_SIZE + 32 };

enum { LAST_DEATH_SIZE = CAUSE_TEXT_SIZE + 32 };

/* The stacks of all workers are being collected (snapshot.c). */
struct snapshot {
    uint64_t deadline; /* CLOCK_NEVER: nobody has asked */
    uint32_t number;   /* counts them */
    uint32_t askers;
    struct desk_ticket tickets[DESK_CLIENTS]; /* of the askers */
    bool is_for_log;
};

struct supervisor {
    const struct options *options;
    const struct worker_hooks *hooks;
    enum phase phase;
    int exit_code;
    bool is_quiet;      /* the start failed and the cause is in the log already: do not add a line */
    bool is_softened;   /* the grace period is nearly over and running functions were asked to stop */
    bool is_over_time;  /* and the workers are being killed: requests still running get server_error */
    bool rss_warned;    /* the warning that a fresh worker already exceeds max_rss was logged */
    bool fallback_open; /* the fallback acceptor takes connections from the listening socket */
    bool unwell;        /* the health check of some worker fails */
    bool all_busy;      /* no worker made progress at the last tick, and none has since */
    struct listener listener;
    int epoll;
    int signals; /* an eventfd: readable when a signal has come */
    sigset_t inherited_mask;
    uint64_t started_wall;  /* when the runtime started, ns since 1970 */
    uint64_t reaped_at;     /* when dead children were last looked for without a SIGCHLD */
    uint64_t next_check;    /* when supervisor_check() is due */
    uint64_t give_up_at;    /* stop then, if the socket's file still cannot be put back; 0: it is there */
    bool ready_is_lost;     /* the ready-file could not be written, which was logged */
    uint64_t kill_at;       /* end of the grace period; CLOCK_NEVER before a stop and after that end */
    uint64_t max_rss;       /* bytes; 0 is off */
    uint32_t worker_count;  /* entries of `workers`: ASYA_WORKERS, ASYA_SPARES, and one for a replacement */
    uint32_t process_count; /* the same, and one for the template, behind them */
    struct worker *workers;
    struct worker *template;       /* ASYA_PRELOAD: what workers are forked from; NULL without (template.c) */
    struct worker *asked;          /* the worker that it forks now; NULL: none */
    struct worker_ends asked_ends; /* the descriptors for it */
    uint64_t asked_until;
    bool load_failed;      /* the last template could not load the function, or did not fork */
    struct series *series; /* the function's own metrics; NULL: there was no memory */
    struct orphans orphans;
    struct remains remains;     /* processes that dead workers left behind */
    int queue_send;             /* connections for whichever worker takes them first */
    int queue_receive;          /* shared with the workers */
    uint64_t printed_at;        /* look at it then; CLOCK_NEVER: once there is something */
    int printed;                /* an epoll set of what workers print (capture.c); -1: none */
    struct lines *lines;        /* for all workers, MARK_STREAMS each; NULL: none */
    uint64_t fallback_opens_at; /* do not begin to accept before this */
    uint64_t fallback_looks_at; /* next look at clients without a whole request */
    int hand_error;             /* why the last connection could not be passed to the workers, -errno; 0: it could */
    uint64_t stuck_since;       /* since when hand_error is set */
    uint64_t tick_at;           /* next look at what runs; CLOCK_NEVER while nothing runs */
    uint64_t alone_since;       /* when the last worker went down; CLOCK_NEVER while one is up */
    uint32_t deaths;            /* in a row, of workers that had answered no request */
    char last_death[LAST_DEATH_SIZE]; /* how the last worker ended, a verb phrase */
    /* the control socket */
    struct desk desk;
    struct listener control; /* its socket; fd is -1 where there is none */
    bool control_is_lost;    /* its file cannot be put back now, and that was logged */
    uint64_t started_at;     /* clock_now() */
    bool is_draining;        /* POST /drain */
    struct incidents incidents;
    struct snapshot snapshot;
    bool has_new_level;       /* POST /log-level: workers have the level of this log */
    bool has_served;          /* a worker was ready once */
    const char *stop_reason;  /* "" before a stop. Static storage */
    enum condition condition; /* at the last look of state_note_condition() */
    uint64_t condition_since;
    /* descriptors.c */
    uint64_t inherited_numbers; /* soft limit of descriptors (RLIMIT_NOFILE) at the start */
    int numbers_end;            /* descriptors from this number on are kept for restarting workers */
    /* set in a worker's process, so that the loop returns there */
    bool is_worker;
    int worker_exit;
};

/* What is served, for the log: as the setting names it. */
const char *state_function(const struct supervisor *supervisor);

/* "worker" or "template", for the log. */
const char *state_kind(const struct supervisor *supervisor, const struct worker *worker);

/* How many workers are in this state. */
uint32_t state_count(const struct supervisor *supervisor, enum worker_state state);

/* What health checks report: at least one worker is ready and takes requests. A worker whose
 * function has used up the descriptors takes none; it is going to be replaced. */
bool state_is_serving(const struct supervisor *supervisor);

/* What probes are told: messages are served, and nobody wants them to go elsewhere (POST /drain). */
bool state_is_ready(const struct supervisor *supervisor);

/* What the ready-file tells: messages are served, or soon will be again without anybody's help. */
bool state_is_on_duty(const struct supervisor *supervisor);

/* Writes what holds for all workers on the board of one that is about to be forked: draining, the log's level. */
void state_tell_worker(const struct supervisor *supervisor, struct worker *worker);

/* How the runtime is now. state_note_condition() keeps since when; it is called in each round of the loop. */
enum condition state_condition(const struct supervisor *supervisor);
void state_note_condition(struct supervisor *supervisor, uint64_t now);

/* ---- admin.c ---- */

/* Opens the control socket and the port. Neither of them may keep the runtime from serving, unless the setting names
 * it: then it returns an exit code, with `err`. Else EXIT_OK; what failed is logged. */
int admin_open(struct supervisor *supervisor, struct error *err);

/* Once a second: puts the control socket's file back if it was removed. */
void admin_check(struct supervisor *supervisor);

void admin_close(struct supervisor *supervisor);

/* ---- status.c ---- */

/* The answers to GET requests of these names (docs/operating.md). */
bool status_answer(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
bool status_answer_live(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
bool status_answer_ready(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
bool status_answer_startup(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);

/* ---- verbs.c ---- */

/* Do what POST requests of these names ask for. */
bool verbs_drain(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
bool verbs_undrain(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
bool verbs_recycle(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
bool verbs_log_level(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
bool verbs_stacks(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);

/* {"error":CODE,"message":TEXT}, for whoever asks for what cannot be done. Returns true. */
bool verbs_refuse(struct desk_reply *reply, unsigned status, const char *code, const char *text);

/* ---- snapshot.c ---- */

/* Begins to collect the stacks of all workers, for the request that `ticket` names, or for the log where it is NULL.
 * snapshot_tend does what is due, and returns when to call it again. */
void snapshot_begin(struct supervisor *supervisor, const struct desk_ticket *ticket);
uint64_t snapshot_tend(struct supervisor *supervisor, uint64_t now);

/* ---- capture.c ---- */

/* ASYA_CAPTURE_OUTPUT. capture_open prepares it, capture_watch begins with a worker that was forked; both return false
 * with errno. capture_turn reads what some of them have printed, and capture_tend logs lines that were not completed
 * for a while and returns when to call it again. capture_finish logs the last words of one that is dead. */
bool capture_open(struct supervisor *supervisor);
bool capture_watch(const struct supervisor *supervisor, const struct worker *worker);
void capture_turn(struct supervisor *supervisor);
uint64_t capture_tend(struct supervisor *supervisor, uint64_t now);
void capture_finish(struct supervisor *supervisor, struct worker *worker);
void capture_close(struct supervisor *supervisor);

/* ---- health.c ---- */

/* Once a second: what the functions' own health checks say. While one fails the runtime is not ready. */
void health_check(struct supervisor *supervisor, uint64_t now);

/* How the health check of this worker fails, a verb phrase; false if it does not. */
bool health_fails(const struct worker *worker, uint64_t limit, uint64_t now, char text[HEALTH_TEXT_SIZE]);

/* ---- tend.c ---- */

/* Does what is due for a worker in its state. Returns when to call it again. It may fork: in the child it returns with
 * is_worker set once the worker has finished. */
uint64_t tend_worker(struct supervisor *supervisor, struct worker *worker, uint64_t now);

/* ---- spawn.c ---- */

/* Forks a worker. In the child this returns with is_worker set once the worker has finished. */
void spawn(struct supervisor *supervisor, struct worker *worker);

/* ---- template.c ---- */

/* What it may grow by while it does nothing but fork, beside a quarter of its size, before it is loaded anew. */
#define TEMPLATE_GROWTH (UINT64_C(64) << 20)

/* Whether this worker has to wait: the template loads, or forks another one. Else it is forked from the template, if
 * that can be now, and by the supervisor otherwise: then it loads the function itself. */
bool template_is_awaited(const struct supervisor *supervisor, const struct worker *worker);
bool template_can_fork(const struct supervisor *supervisor, const struct worker *worker);

/* Has the template fork a worker that was prepared. Takes over `ends` on success: returns 0 or -errno. Nothing waits:
 * template_forked is called with what it reports, and if it is dead the worker is started again after it. */
int template_ask(struct supervisor *supervisor, struct worker *worker, struct worker_ends *ends);
void template_forked(struct supervisor *supervisor, int32_t value);

/* A process of this entry runs: begins to watch it. */
void template_watch(struct supervisor *supervisor, struct worker *worker, pid_t pid, struct worker_ends *ends);

/* The one that was asked for does not come from there: it is started again, or loads the function itself. */
void template_abandon(struct supervisor *supervisor);

/* It has loaded the function. template_ended: its process was reaped. */
void template_ready(struct supervisor *supervisor);
void template_ended(struct supervisor *supervisor);

/* Has it load the function again. Workers that live are not touched; those that are missing wait for it. */
void template_renew(struct supervisor *supervisor, const char *reason);

/* Once a second: renews one that grows. template_tend does what is due for one that is loaded, and returns when to call
 * it again. */
void template_check(struct supervisor *supervisor);
uint64_t template_tend(struct supervisor *supervisor, uint64_t now);

/* ---- reap.c ---- */

/* Reaps every child that has ended: workers, and orphans that the kernel gave us because we are PID 1 or a subreaper.
 */
void reap(struct supervisor *supervisor);

/* The first call without which deaths go unnoticed or nothing can be ended, and which a filter (seccomp) refuses, with
 * errno; NULL: they work. */
const char *reap_refused_call(void);

/* A worker was sent SIGKILL and does not end: treat it as dead (see worker.h). */
void reap_lost(struct supervisor *supervisor, struct worker *worker);

/* ---- channel.c ---- */

/* Reads the messages on a worker's control channel and does what they ask for. */
void channel_read(struct supervisor *supervisor, struct worker *worker);

/* ---- restart.c ---- */

/* Call it when a worker's process was reaped and its control channel read to the end. Answers or hands on its
 * connections, logs one line and decides when the next worker starts. Returns EXIT_OK, or the exit code to stop the
 * runtime with: the first worker could not load the function. */
int restart_after_death(struct supervisor *supervisor, struct worker *worker, struct cause *cause);

/* ---- spares.c ---- */

/* A worker has loaded the function, and serves now. */
void spares_serve(struct supervisor *supervisor, struct worker *worker);

/* In each round of the loop, before anything else: puts spares in the places of workers that are missing, and ends
 * those that are to be loaded anew. */
void spares_tend(struct supervisor *supervisor);

/* One is loaded, and can serve at once. */
bool spares_is_any_loaded(const struct supervisor *supervisor);

/* Whether a spare may be loaded now. */
bool spares_may_load(const struct supervisor *supervisor);

/* ---- socket_file.c ---- */

/* The first worker is ready: the socket appears at its path. */
void socket_file_publish(struct supervisor *supervisor);

/* Checks that the socket's file is still there and still ours; puts it back if not. */
void socket_file_check(struct supervisor *supervisor);

/* Makes the ready-file exist if, and only if, state_is_on_duty(). */
void socket_file_show_readiness(struct supervisor *supervisor);

/* ---- replace.c ---- */

/* Has the worker replaced by a fresh one (ASYA_MAX_REQUESTS, ASYA_MAX_RSS, a function that does not stop). The old one
 * goes on serving until the new one is ready. */
void replace_worker(struct supervisor *supervisor, struct worker *worker, const char *reason);

/* A worker has become ready: if it replaces another, that one is told to retire. */
void replace_ready(struct supervisor *supervisor, struct worker *fresh);

/* A worker has ended: its entry may be the free one that a replacement waits for, or it may be the worker that was to
 * be replaced. */
void replace_ended(struct supervisor *supervisor, const struct worker *worker);

/* Does what is due for a worker that retires. Returns when to call it again. */
uint64_t replace_tend(struct supervisor *supervisor, struct worker *worker, uint64_t now);

/* Checks a worker's memory against ASYA_MAX_RSS. replace_check does that for all workers, and starts replacements that
 * had to wait. */
void replace_look(struct supervisor *supervisor, struct worker *worker);
void replace_check(struct supervisor *supervisor);

/* ---- stop.c ---- */

/* Begins to stop: the runtime reports that it is not ready, and clients that are connected are still answered. */
void stop_begin(struct supervisor *supervisor, const char *reason, int exit_code);

/* When to kill a process that was asked to end: in a second, or during a stop at the end of the grace period if that is
 * sooner. */
uint64_t stop_term(const struct supervisor *supervisor, uint64_t now);

/* During a stop: does what is due towards the end of the grace period. Returns when to call it again. */
uint64_t stop_tend(struct supervisor *supervisor, uint64_t now);

/* The grace period is over, or a second signal came: kills every worker. Requests still running get server_error. */
void stop_now(struct supervisor *supervisor, const char *reason);

/* ---- fallback.c ---- */

/* fallback_close stops accepting. fallback_accept takes the connections in the backlog. fallback_tend does what is due
 * and returns when to call it again. */
void fallback_close(struct supervisor *supervisor);
void fallback_accept(struct supervisor *supervisor);
uint64_t fallback_tend(struct supervisor *supervisor, uint64_t now);

/* At a stop: puts all waiting connections into the queue, which the workers answer before they end. Returns when to try
 * again if the queue had no room for all. */
uint64_t fallback_hand_over(struct supervisor *supervisor, uint64_t now);

/* ---- tick.c ---- */

/* Looks at what runs, if a tick is due; returns when the next one is. tick_wake starts the ticks: something runs now.
 */
uint64_t tick(struct supervisor *supervisor, uint64_t now);
void tick_wake(struct supervisor *supervisor, uint64_t now);

/* Takes back the connections that a retiring worker has accepted and not read, so that none of them waits for its
 * running requests. */
void tick_take_unread(struct supervisor *supervisor, struct worker *worker);

/* Once a second: finds scoreboards that were written over, requests that run although no worker reported them, and
 * clients that wait although nothing runs. */
void tick_check(struct supervisor *supervisor, uint64_t now);

/* Between ticks: clears all_busy as soon as a worker has made progress. Only reads the scoreboards. */
void tick_look(struct supervisor *supervisor);

/* ---- queue.c ---- */

/* queue_make makes the queue of connections for the workers; 0 or -errno. queue_renew makes a new one after the
 * function has shut it down; false if that fails. queue_check, once a second, renews it if needed. */
int queue_make(struct supervisor *supervisor);
bool queue_renew(struct supervisor *supervisor);
void queue_check(struct supervisor *supervisor);

/* A connection waits for a worker, in the queue or in the socket's backlog. */
bool queue_is_waiting(const struct supervisor *supervisor);

/* Connections wait here or in the backlog, and workers may sleep all the same: queue_nudge, at a tick, wakes those that
 * made no progress; queue_wake, after a worker's death, all of them: the dead one may have been woken and not have
 * taken the connection. */
void queue_nudge(struct supervisor *supervisor);
bool queue_is_unheard(const struct worker *worker); /* nothing runs in it, it was told to look, and has not done so */
void queue_wake(const struct supervisor *supervisor);

/* ---- descriptors.c ---- */

/* descriptors_raise raises our limit of descriptors to the hard limit, and logs how many connections that allows if
 * they are few. descriptors_for_worker, in a worker's process, sets the limit of a worker. */
void descriptors_raise(struct supervisor *supervisor);
void descriptors_for_worker(const struct supervisor *supervisor);

/* A limit that suffices for this many workers. With less the runtime may start, but has few connections. */
uint64_t descriptors_needed(const struct supervisor *supervisor);

/* ---- lack.c ---- */

/* Logs that the start failed at `what` with `status` (-errno): which limit was reached where it is one, and how much of
 * it the runtime needs. Returns the exit code. Only for the start: a runtime that has served tries again without end,
 * since others may give back what it lacks. */
int lack_report(const struct supervisor *supervisor, const char *what, int status);

/* ---- signals.c ---- */

/* signals_watch makes the eventfd and the epoll set, and installs the handlers; on failure it returns false with errno
 * and has changed nothing. signals_wait is epoll_wait until `deadline`, and the only
 * place where signals are unblocked; those that had come before are delivered in it whether there are events or not.
 * signals_take returns the signals that came since the last call, a bit for each number; it adds SIGCHLD once a second
 * whether it came or not. signals_drain resets the eventfd. signals_close closes both descriptors; signals_restore
 * restores the interpreter's handlers and mask. */
bool signals_watch(struct supervisor *supervisor);
int signals_wait(struct supervisor *supervisor, struct epoll_event *events, int count, uint64_t deadline);
uint32_t signals_take(struct supervisor *supervisor, uint64_t now);
void signals_drain(const struct supervisor *supervisor);
void signals_close(struct supervisor *supervisor);
void signals_restore(const struct supervisor *supervisor);

#endif
