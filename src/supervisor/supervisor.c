#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/cancel.h"
#include "server/control.h"
#include "server/keeper.h"
#include "supervisor/cgroup.h"
#include "supervisor/readyfile.h"
#include "supervisor/state.h"
#include "supervisor/watch.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 16,
    /* Descriptors that connections without a worker leave free: a worker's start takes PARK_KEPT + 3 more than the end
     * of the one before gives back, a look at a parking slot takes PARK_GROUP. */
    DESCRIPTORS_KEPT = PARK_KEPT + PARK_GROUP,
};

#define CHECK_INTERVAL (1 * CLOCK_SECOND) /* between looks at the socket's file */
#define DEAF_TIME      (1 * CLOCK_SECOND) /* for a worker whose channel has ended to end itself */
#define STACK_TIME     (50 * CLOCK_MS)    /* for a process to write its stacks before it is killed */

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static struct worker *find_worker(const struct supervisor *supervisor, pid_t pid)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        if (supervisor->workers[i].pid == pid && pid > 0) {
            return &supervisor->workers[i];
        }
    }
    return NULL;
}

uint32_t supervisor_count(const struct supervisor *supervisor, enum worker_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        count += supervisor->workers[i].state == state;
    }
    return count;
}

static bool any_alive(const struct supervisor *supervisor)
{
    return supervisor_count(supervisor, WORKER_DOWN) < supervisor->worker_count;
}

/* In the new process: lets go of everything that is the supervisor's, or another worker's. */
static void let_go(struct supervisor *supervisor, struct worker *worker)
{
    fd_close(&supervisor->epoll);
    fd_close(&supervisor->signals);
    listener_forget(&supervisor->listener);
    for (uint32_t i = 0; i < supervisor->orphans.count; i++) {
        fd_close(&supervisor->orphans.fds[i]);
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        if (&supervisor->workers[i] != worker) {
            worker_forget(&supervisor->workers[i]);
        }
    }
    fd_close(&worker->control);
    fd_close(&worker->stack);
    fd_close(&worker->keeper);
    fd_close(&supervisor->queue_send);
}

/* The new process becomes the worker. */
static void become_worker(struct supervisor *supervisor, struct worker *worker, struct worker_ends *ends, pid_t parent)
{
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_INTERNAL); /* the supervisor died before the line above */
    }
    let_go(supervisor, worker);
    /* Not before: the keeper shares this table, and would wait for ever for the end of a channel whose other end is in
     * it. Not after the hook: what Python writes to memory would be the keeper's to keep. */
    int status = keeper_start(ends->keeper, supervisor->listener.fd);
    supervisor->hooks->after_fork(supervisor->hooks->context, true);
    if (status < 0) {
        log_warning("worker %u has no keeper (%s): a connection it has only just accepted is lost if it is killed",
                    worker->index, strerror(-status));
    }
    (void)sigprocmask(SIG_SETMASK, &supervisor->inherited_mask, NULL);
    struct worker_seat seat = {.index = worker->index,
                               .listener = supervisor->listener.fd,
                               .control = ends->control,
                               .queue = supervisor->queue_receive,
                               .stack = ends->stack,
                               .park = &worker->park,
                               .page = worker->page};
    supervisor->is_worker = true;
    supervisor->worker_exit = supervisor->hooks->run(supervisor->hooks->context, &seat);
    worker_ends_done(ends);
    fd_close(&supervisor->queue_receive);
    park_done(&worker->park);
    fd_close(&supervisor->listener.fd);
}

/* Forks a worker. In the child this returns with is_worker set, after its life. */
static void spawn(struct supervisor *supervisor, struct worker *worker)
{
    struct worker_ends ends = WORKER_ENDS_NONE;
    int status = worker_prepare(worker, &ends);
    pid_t parent = getpid();
    pid_t pid = -1;
    if (status == 0) {
        supervisor->hooks->before_fork(supervisor->hooks->context);
        pid = fork();
        status = pid < 0 ? -errno : 0;
        if (pid == 0) {
            become_worker(supervisor, worker, &ends, parent);
            return;
        }
        supervisor->hooks->after_fork(supervisor->hooks->context, false);
    }
    uint64_t now = clock_now();
    if (status < 0) {
        worker_ends_done(&ends);
        worker_ended(worker);
        uint64_t delay = restart_delay(++worker->failures);
        worker->restart_at = clock_after(now, delay);
        log_error("cannot start worker %u: %s; next try in %llu ms", worker->index, strerror(-status),
                  (unsigned long long)(delay / CLOCK_MS));
        return;
    }
    worker_forked(worker, pid, &ends, now);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = worker};
    if (epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, worker->control, &event) != 0) {
        log_error("cannot watch worker %u: %s", worker->index, strerror(errno));
        worker_kill(worker, SIGKILL);
    }
}

/* The ready-file exists while a worker is up. */
void supervisor_show_readiness(struct supervisor *supervisor)
{
    const char *path = supervisor->options->ready_file;
    if (supervisor->phase != PHASE_SERVING || supervisor_count(supervisor, WORKER_READY) == 0) {
        readyfile_remove(path);
        return;
    }
    int status = readyfile_write(path);
    if (status < 0) {
        log_error("cannot write the ready-file %s: %s; serving without it", path, strerror(-status));
    }
}

static void publish(struct supervisor *supervisor)
{
    int status = listener_publish(&supervisor->listener);
    if (status < 0) {
        log_error("cannot publish %s: %s", supervisor->options->socket_path, strerror(-status));
        supervisor_stop(supervisor, "the socket cannot be published", EXIT_SOCKET);
        return;
    }
    supervisor->phase = PHASE_SERVING;
    supervisor->next_check = clock_after(clock_now(), CHECK_INTERVAL);
    supervisor_show_readiness(supervisor);
    log_info("listening on %s, %u worker%s", supervisor->options->socket_path, (unsigned)supervisor->options->workers,
             supervisor->options->workers == 1 ? "" : "s");
}

static void worker_ready(struct supervisor *supervisor, struct worker *worker)
{
    if (worker->state != WORKER_STARTING) {
        return;
    }
    worker->state = WORKER_READY;
    log_info("worker %u is ready, pid %d, after %llu ms", worker->index, (int)worker->pid,
             (unsigned long long)((clock_now() - worker->started_at) / CLOCK_MS));
    supervisor->alone_since = CLOCK_NEVER;
    supervisor->start_failures = 0;
    replace_ready(supervisor, worker);
    if (supervisor->phase == PHASE_STARTING) {
        publish(supervisor);
    } else {
        supervisor_show_readiness(supervisor);
    }
}

/* Reads what a worker has to say. A worker that talks nonsense on the channel is not trusted any further. */
void supervisor_listen_to(struct supervisor *supervisor, struct worker *worker)
{
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    int status;
    while (worker->control >= 0 && (status = control_receive(worker->control, &message, fds)) != -EAGAIN) {
        if (status == -ENOMEM || status == -ENOBUFS) {
            return; /* the message is still there, and will be read when there is memory */
        }
        if (status <= 0) {
            (void)epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, worker->control, NULL);
            if (status == -EPROTO) {
                log_error("worker %u sent an invalid control message and is replaced", worker->index);
                worker_kill(worker, SIGKILL);
            }
            if (worker->state == WORKER_READY) { /* at the end of the channel SIGCHLD says the rest; or it does not */
                worker->deaf_at = clock_after(clock_now(), DEAF_TIME);
            }
            return;
        }
        if (message.type == CONTROL_READY && message.count == 0) {
            worker_ready(supervisor, worker);
        } else if (message.type == CONTROL_WATCH) {
            tick_wake(supervisor, clock_now());
        } else if (message.type == CONTROL_RETIRE && message.count == 0) {
            replace_worker(supervisor, worker, "it has served its ASYA_MAX_REQUESTS");
        } else if (message.type == CONTROL_TRIM && message.count == 0) {
            park_trim(&worker->park, PARK_KEPT);
        } else if (message.type == CONTROL_SLOTS) {
            if (message.count > 0 && fds[message.count - 1] < 0) {
                log_warning("worker %u: no descriptors are left here for more parking slots (RLIMIT_NOFILE): clients "
                            "whose connections its function closes get no reply",
                            worker->index);
            }
            worker_add_slots(worker, fds, message.count);
        } else {
            for (uint32_t i = 0; i < message.count; i++) {
                fd_close(&fds[i]);
            }
        }
    }
}

/* ---- death ------------------------------------------------------------------------------------------------------ */

/* A stopped worker serves nobody: what it holds is looked after until it goes on or dies. */
static void note_stop(struct supervisor *supervisor, const siginfo_t *found)
{
    siginfo_t info = {0};
    (void)waitid(P_PID, (id_t)found->si_pid, &info, WSTOPPED | WCONTINUED | WNOHANG);
    struct worker *worker = find_worker(supervisor, found->si_pid);
    if (worker != NULL) {
        worker->stopped = found->si_code != CLD_CONTINUED;
        tick_wake(supervisor, clock_now());
    }
}

static void bury(struct supervisor *supervisor, pid_t pid)
{
    struct worker *worker = find_worker(supervisor, pid);
    if (worker != NULL) {
        worker_kill(worker, SIGKILL); /* its process group, while the number cannot be anybody else's */
    }
    int status = 0;
    struct rusage usage;
    if (wait4(pid, &status, WNOHANG, &usage) == pid && worker != NULL) {
        struct cause cause = cause_from_wait(status);
        cause.peak_rss = (uint64_t)usage.ru_maxrss * 1024;
        restart_after_death(supervisor, worker, &cause);
    }
}

/* Reaps every ended child: workers, and orphans that were left to us as PID 1 or subreaper. */
static void reap(struct supervisor *supervisor)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) != 0) {
            if (errno == EINTR) {
                continue;
            }
            return;
        }
        if (info.si_pid == 0) {
            return;
        }
        if (info.si_code == CLD_STOPPED || info.si_code == CLD_CONTINUED || info.si_code == CLD_TRAPPED) {
            note_stop(supervisor, &info);
        } else {
            bury(supervisor, info.si_pid);
        }
    }
}

/* ---- stop ------------------------------------------------------------------------------------------------------- */

static void kill_all(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        worker_kill(&supervisor->workers[i], SIGKILL);
    }
}

/* Not ready at once; who is being served, or has connected, is still answered. */
void supervisor_stop(struct supervisor *supervisor, const char *reason, int exit_code)
{
    if (supervisor->phase == PHASE_STOPPING) {
        return;
    }
    bool started = supervisor->phase != PHASE_STARTING;
    if (started || exit_code == EXIT_OK) { /* else the line that names the cause shall be the last */
        log_info("stopping: %s", reason);
    }
    supervisor->phase = PHASE_STOPPING;
    supervisor->exit_code = exit_code;
    supervisor->is_quiet = !started && exit_code != EXIT_OK;
    supervisor->kill_at = clock_after(clock_now(), supervisor->options->grace_period);
    readyfile_remove(supervisor->options->ready_file);
    desk_close(supervisor);
    listener_hide(&supervisor->listener);
    if (supervisor_count(supervisor, WORKER_READY) + supervisor_count(supervisor, WORKER_STOPPING) > 0) {
        (void)desk_hand_over(supervisor, clock_now());
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_STARTING) {
            worker_kill(worker, SIGKILL);          /* it serves nobody */
        } else if (worker->state != WORKER_DOWN) { /* one that is being replaced has no successor now */
            worker_end(worker);
            int status = control_send(worker->control, CONTROL_DRAIN, NULL, 0);
            if (status < 0 && status != -EPIPE && status != -ECONNRESET) { /* these: it is ending already */
                log_warning("worker %u cannot be told to stop: %s", worker->index, strerror(-status));
                worker_kill(worker, SIGKILL);
            }
        }
    }
}

static void cut_short(struct supervisor *supervisor, const char *reason)
{
    log_warning("stopping now: %s; requests that still run are answered with server_error", reason);
    supervisor->kill_at = 0;
    kill_all(supervisor);
}

static void handle_signal(struct supervisor *supervisor, const struct signalfd_siginfo *info)
{
    switch (info->ssi_signo) {
    case SIGCHLD:
        reap(supervisor);
        return;
    case SIGUSR1:
        for (uint32_t i = 0; i < supervisor->worker_count; i++) {
            const struct worker *worker = &supervisor->workers[i];
            log_info("worker %u: pid %d, %llu requests, %u connections", worker->index, (int)worker->pid,
                     (unsigned long long)atomic_load(&worker->page->requests), atomic_load(&worker->page->holding));
        }
        return;
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
    case SIGHUP:
        if (supervisor->phase != PHASE_STOPPING) {
            supervisor_stop(supervisor,
                            info->ssi_signo == SIGTERM  ? "SIGTERM"
                            : info->ssi_signo == SIGINT ? "SIGINT"
                                                        : "SIGQUIT or SIGHUP",
                            EXIT_OK);
        } else if (supervisor->kill_at != 0) {
            cut_short(supervisor, "a second signal");
        }
        return;
    default:
        return;
    }
}

static void read_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        handle_signal(supervisor, &info);
    }
}

/* ---- the socket's file ------------------------------------------------------------------------------------------ */

static void publish_again(struct supervisor *supervisor)
{
    struct error err;
    int old = -1;
    desk_close(supervisor);
    if (listener_renew(&supervisor->listener, &old, &err) != EXIT_OK) {
        log_error("%s was removed and cannot be put back: %s", supervisor->options->socket_path, err.text);
        supervisor_stop(supervisor, "the socket is lost", EXIT_SOCKET_LOST);
        return;
    }
    log_warning("%s was removed; it has been put back", supervisor->options->socket_path);
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_STARTING || worker->state == WORKER_READY) {
            if (control_send(worker->control, CONTROL_LISTENER, &supervisor->listener.fd, 1) < 0) {
                worker_kill(worker, SIGKILL); /* its successor inherits the new socket */
            }
        }
    }
    supervisor_show_readiness(supervisor);
    fd_close(&old);
}

static void check_socket(struct supervisor *supervisor, uint64_t now)
{
    if (supervisor->phase != PHASE_SERVING || now < supervisor->next_check) {
        return;
    }
    supervisor->next_check = clock_after(now, CHECK_INTERVAL);
    replace_check(supervisor);
    switch (listener_check(&supervisor->listener)) {
    case LISTENER_OURS:
        return;
    case LISTENER_GONE:
        publish_again(supervisor);
        return;
    case LISTENER_TAKEN:
        log_error("something else stands at %s now; it was left alone", supervisor->options->socket_path);
        supervisor_stop(supervisor, "the socket is lost", EXIT_SOCKET_LOST);
        return;
    }
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

/* A worker that lives on without its channel, which the function has closed, would never hear that it is to end. */
static uint64_t end_deaf(struct worker *worker, uint64_t now)
{
    if (worker->pid > 0 && worker->deaf_at <= now) {
        log_error("worker %u, pid %d, has closed its control channel and is replaced", worker->index, (int)worker->pid);
        worker->deaf_at = CLOCK_NEVER;
        worker_kill(worker, SIGKILL);
    }
    return worker->pid > 0 ? worker->deaf_at : CLOCK_NEVER;
}

/* Acts on deadlines that have passed; returns the next one. */
static uint64_t expire(struct supervisor *supervisor, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    if (supervisor->phase == PHASE_STOPPING) {
        if (supervisor->kill_at != 0 && now >= supervisor->kill_at) {
            cut_short(supervisor, "the grace period is over (ASYA_GRACE_PERIOD)");
        }
        next = supervisor->kill_at != 0 ? supervisor->kill_at : CLOCK_NEVER;
        next = earlier(next, tick(supervisor, now));
        if (supervisor_count(supervisor, WORKER_STOPPING) > 0) {
            next = earlier(next, desk_hand_over(supervisor, now));
        }
        for (uint32_t i = 0; i < supervisor->worker_count; i++) {
            next = earlier(next, watch_worker(&supervisor->workers[i], supervisor->options, now));
            next = earlier(next, end_deaf(&supervisor->workers[i], now));
        }
        return next;
    }
    check_socket(supervisor, now);
    if (supervisor->phase == PHASE_SERVING) {
        next = earlier(supervisor->next_check, tick(supervisor, now));
        next = earlier(next, desk_tend(supervisor, now));
    }
    for (uint32_t i = 0; i < supervisor->worker_count && supervisor->phase != PHASE_STOPPING; i++) {
        struct worker *worker = &supervisor->workers[i];
        /* the first worker alone shows whether the function can be loaded: one traceback, not one for each */
        bool may_start = supervisor->phase == PHASE_SERVING || i == 0;
        if (worker->state == WORKER_DOWN && !worker->vacant && may_start) {
            if (worker->restart_at <= now) {
                spawn(supervisor, worker);
                if (supervisor->is_worker) {
                    return 0;
                }
                now = clock_now();
            }
            if (worker->state == WORKER_DOWN) { /* not yet, or it could not be forked */
                next = earlier(next, worker->restart_at);
            }
        }
        if (worker->state == WORKER_STARTING && supervisor->options->startup_timeout > 0) {
            uint64_t deadline = clock_after(worker->started_at, supervisor->options->startup_timeout);
            if (deadline <= now && !worker->timed_out) {
                worker->timed_out = true;
                (void)kill(worker->pid, STACK_SIGNAL);
                deadline = clock_after(now, STACK_TIME);
                worker->restart_at = deadline;
            } else if (worker->timed_out) {
                deadline = worker->restart_at;
                if (deadline <= now) {
                    worker_kill(worker, SIGKILL);
                    deadline = CLOCK_NEVER;
                }
            }
            next = earlier(next, deadline);
        }
        if (worker->state == WORKER_STOPPING) { /* retiring, or it would be PHASE_STOPPING */
            if (worker->restart_at <= now) {
                worker_kill(worker, SIGKILL);
            } else {
                next = earlier(next, worker->restart_at);
            }
        }
        next = earlier(next, watch_worker(worker, supervisor->options, now));
        next = earlier(next, end_deaf(worker, now));
        if (worker->wedged) {
            replace_worker(supervisor, worker, "a function does not stop, and others run beside it");
        }
    }
    return next;
}

static bool is_over(const struct supervisor *supervisor)
{
    return supervisor->is_worker || (supervisor->phase == PHASE_STOPPING && !any_alive(supervisor));
}

static void loop(struct supervisor *supervisor)
{
    struct epoll_event events[EVENTS_MAX];
    while (!is_over(supervisor)) {
        uint64_t now = clock_now();
        uint64_t deadline = expire(supervisor, now);
        if (is_over(supervisor)) {
            return;
        }
        int count = epoll_wait(supervisor->epoll, events, EVENTS_MAX, clock_timeout(clock_now(), deadline));
        for (int i = 0; i < count; i++) {
            struct worker *worker = events[i].data.ptr;
            if (worker == NULL) {
                read_signals(supervisor);
            } else if (events[i].data.ptr == &supervisor->listener) {
                desk_accept(supervisor);
            } else if (worker->control >= 0) {
                supervisor_listen_to(supervisor, worker);
            }
        }
    }
}

static bool watch_signals(struct supervisor *supervisor)
{
    static const int watched[] = {SIGCHLD, SIGTERM, SIGINT,  SIGQUIT,   SIGHUP,  SIGUSR1,
                                  SIGUSR2, SIGALRM, SIGPROF, SIGVTALRM, SIGPOLL, SIGPWR}; /* the last six: ignored */
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
        sigaddset(&set, watched[i]);
    }
    if (sigprocmask(SIG_BLOCK, &set, &supervisor->inherited_mask) != 0) {
        return false;
    }
    supervisor->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    supervisor->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    return supervisor->signals >= 0 && supervisor->epoll >= 0 &&
           epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->signals, &event) == 0;
}

/* After a start that has failed. */
static void unwatch_signals(struct supervisor *supervisor)
{
    fd_close(&supervisor->epoll);
    fd_close(&supervisor->signals);
    (void)sigprocmask(SIG_SETMASK, &supervisor->inherited_mask, NULL);
}

/* Under a low RLIMIT_NOFILE; 0: there are enough. */
static int numbers_for_orphans(void)
{
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit < 0 || limit > INT_MAX) {
        return 0;
    }
    return limit > DESCRIPTORS_KEPT ? (int)limit - DESCRIPTORS_KEPT : 1;
}

static bool prepare(struct supervisor *supervisor)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans of the function come to us; as PID 1 they do anyway */
    uint32_t wanted = (uint32_t)supervisor->options->workers;
    supervisor->worker_count = wanted > 1 ? wanted + 1 : 1;
    supervisor->alone_since = supervisor->tick_at = CLOCK_NEVER;
    supervisor->orphans.protocol = (enum protocol)supervisor->options->protocol;
    supervisor->orphans.numbers_end = numbers_for_orphans();
    supervisor->max_rss = supervisor->options->max_rss.bytes;
    uint64_t limit;
    if (supervisor->options->max_rss.percent > 0) {
        if (cgroup_memory_limit(&limit)) {
            supervisor->max_rss = limit / 100 * supervisor->options->max_rss.percent;
        } else {
            log_warning(
                "ASYA_MAX_RSS is a share, but this container has no memory limit that can be read: it has no effect");
        }
    }
    supervisor->workers = calloc(supervisor->worker_count, sizeof *supervisor->workers);
    if (supervisor->workers == NULL) {
        log_error("the supervisor cannot start: no memory");
        return false;
    }
    int made = control_pair(&supervisor->queue_send, &supervisor->queue_receive);
    if (made < 0) {
        log_error("the supervisor cannot start: %s", strerror(-made));
        return false;
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        int status = worker_init(&supervisor->workers[i], i);
        if (status < 0) {
            log_error("the supervisor cannot start: %s", strerror(-status));
            return false;
        }
        supervisor->workers[i].vacant = i >= wanted;
    }
    return true;
}

static void finish(struct supervisor *supervisor)
{
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the runtime is shutting down");
    do { /* what lies in the queue comes last: while the desk is full there is no room for it */
        rescue_dismiss(&supervisor->orphans, &supervisor->listener, &err);
        orphans_reclaim(&supervisor->orphans, supervisor->queue_receive, clock_now());
    } while (supervisor->orphans.count > 0);
    listener_close(&supervisor->listener);
    fd_close(&supervisor->epoll);
    fd_close(&supervisor->signals);
    fd_close(&supervisor->queue_send);
    fd_close(&supervisor->queue_receive);
    if (!supervisor->is_quiet) {
        log_info("stopped, exit code %d", supervisor->exit_code);
    }
}

int supervisor_run(const struct options *options, const struct worker_hooks *hooks)
{
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (supervisor == NULL) {
        log_error("the supervisor cannot start: no memory");
        return EXIT_INTERNAL;
    }
    supervisor->options = options;
    supervisor->hooks = hooks;
    supervisor->epoll = supervisor->signals = supervisor->queue_send = supervisor->queue_receive = -1;
    struct error err;
    int code = EXIT_INTERNAL;
    if (!watch_signals(supervisor)) { /* first: a signal that ends us now would leave the socket's files behind */
        log_error("the supervisor cannot start: %s", strerror(errno));
    } else {
        code = listener_open(&supervisor->listener, options->socket_path, options->socket_mode, &err);
        if (code != EXIT_OK) {
            log_error("%s", err.text);
        }
    }
    if (code != EXIT_OK) {
        unwatch_signals(supervisor);
        free(supervisor);
        return code;
    }
    supervisor->listener.allowed_uids = &options->allowed_uids;
    if (prepare(supervisor)) {
        loop(supervisor);
    } else {
        supervisor->exit_code = EXIT_INTERNAL;
    }
    if (supervisor->is_worker) {
        return supervisor->worker_exit;
    }
    finish(supervisor);
    free(supervisor->workers);
    code = supervisor->exit_code;
    free(supervisor);
    return code;
}
