#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervisor/cgroup.h"
#include "supervisor/readyfile.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 16 };

static void supervisor_log_workers(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state != WORKER_DOWN) { /* DOWN: the entry kept for a replacement */
            log_event(LOG_LEVEL_INFO, EVENT_WORKER_STATUS, WORKER_FACTS(worker),
                      "worker %u: pid %d, %llu requests, %u connections", worker->index, (int)worker->pid,
                      (unsigned long long)atomic_load(&worker->board->requests), atomic_load(&worker->board->holding));
        }
    }
}

static void supervisor_obey(struct supervisor *supervisor, int number)
{
    switch (number) {
    case SIGCHLD:
        reap(supervisor);
        return;
    case SIGUSR1:
        supervisor_log_workers(supervisor);
        return;
    case SIGUSR2:
        snapshot_begin(supervisor, NULL);
        return;
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
    case SIGHUP:
        if (supervisor->phase != PHASE_STOPPING) {
            stop_begin(supervisor,
                       number == SIGTERM  ? "SIGTERM"
                       : number == SIGINT ? "SIGINT"
                                          : "SIGQUIT or SIGHUP",
                       EXIT_OK);
        } else if (supervisor->kill_at != CLOCK_NEVER) {
            stop_now(supervisor, "a second signal");
        }
        return;
    default:
        return;
    }
}

static void supervisor_obey_all(struct supervisor *supervisor, uint32_t signals)
{
    for (int number = 1; signals > 1; number++, signals >>= 1) {
        if ((signals & 2) != 0) {
            supervisor_obey(supervisor, number);
        }
    }
}

/* Once a second while serving, and at once when a worker asks for it: things that nobody reports. */
static void supervisor_check(struct supervisor *supervisor, uint64_t now)
{
    supervisor->next_check = clock_after(now, STATE_CHECK_INTERVAL);
    replace_check(supervisor);
    template_check(supervisor);
    health_check(supervisor, now);
    queue_check(supervisor);
    tick_check(supervisor, now);
    socket_file_check(supervisor);
    admin_check(supervisor);
}

/* During a stop: the end of the grace period, and clients that still wait for a worker. */
static uint64_t supervisor_expire_stopping(struct supervisor *supervisor, uint64_t now)
{
    uint64_t next = clock_earlier(stop_tend(supervisor, now), tick(supervisor, now));
    if (state_count(supervisor, WORKER_STOPPING) > 0) {
        next = clock_earlier(next, fallback_hand_over(supervisor, now));
    }
    return next;
}

/* Does what is due; returns the next deadline. */
static uint64_t supervisor_expire(struct supervisor *supervisor, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    spares_tend(supervisor); /* first: whoever waits, waits for this */
    if (supervisor->phase == PHASE_SERVING && supervisor->next_check <= now) {
        supervisor_check(supervisor, now);
    }
    if (supervisor->phase == PHASE_SERVING) {
        next = clock_earlier(supervisor->next_check, tick(supervisor, now));
        next = clock_earlier(next, fallback_tend(supervisor, now));
    }
    if (supervisor->phase == PHASE_STOPPING) {
        next = supervisor_expire_stopping(supervisor, now);
    }
    next = clock_earlier(next, remains_tend(&supervisor->remains, now));
    next = clock_earlier(next, desk_tend(&supervisor->desk, now));
    next = clock_earlier(next, snapshot_tend(supervisor, now));
    next = clock_earlier(next, capture_tend(supervisor, now));
    for (uint32_t i = 0; i < supervisor->process_count && !supervisor->is_worker; i++) {
        next = clock_earlier(next, tend_worker(supervisor, &supervisor->workers[i], now));
    }
    return next;
}

static bool supervisor_is_over(const struct supervisor *supervisor)
{
    return supervisor->is_worker || (supervisor->phase == PHASE_STOPPING && supervisor->remains.count == 0 &&
                                     state_count(supervisor, WORKER_DOWN) == supervisor->worker_count &&
                                     (supervisor->template == NULL || supervisor->template->state == WORKER_DOWN));
}

static void supervisor_loop(struct supervisor *supervisor)
{
    struct epoll_event events[EVENTS_MAX];
    while (!supervisor_is_over(supervisor)) {
        uint64_t now = clock_now();
        log_tend(now);
        supervisor_obey_all(supervisor, signals_take(supervisor, now));
        uint64_t deadline = supervisor_expire(supervisor, now);
        if (supervisor_is_over(supervisor)) {
            return;
        }
        state_note_condition(supervisor, now);
        int count = signals_wait(supervisor, events, EVENTS_MAX, clock_earlier(deadline, log_due()));
        for (int i = 0; i < count; i++) {
            struct worker *worker = events[i].data.ptr;
            if (worker == NULL) {
                signals_drain(supervisor);
            } else if (events[i].data.ptr == &supervisor->listener) {
                fallback_accept(supervisor);
            } else if (events[i].data.ptr == &supervisor->printed) {
                capture_turn(supervisor);
            } else if (events[i].data.ptr == &supervisor->desk) {
                desk_turn(&supervisor->desk);
            } else if (worker->control >= 0) {
                channel_read(supervisor, worker);
            }
        }
    }
}

/* Returns 0 or -errno. */
static int supervisor_prepare(struct supervisor *supervisor)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER,
                1); /* orphans of the function's processes become our children; as PID 1 we get them anyway */
    uint32_t wanted = (uint32_t)supervisor->options->workers;
    uint32_t kept = (uint32_t)supervisor->options->spares;
    supervisor->worker_count = wanted + kept + 1;
    supervisor->process_count = supervisor->worker_count + supervisor->options->preload;
    supervisor->alone_since = supervisor->tick_at = supervisor->kill_at = CLOCK_NEVER;
    supervisor->orphans.protocol = (enum protocol)supervisor->options->protocol;
    descriptors_raise(supervisor);
    supervisor->max_rss = cgroup_share(&supervisor->options->max_rss);
    cgroup_warn_of_share(&supervisor->options->max_rss, "ASYA_MAX_RSS");
    supervisor->workers = calloc(supervisor->process_count, sizeof *supervisor->workers);
    if (supervisor->workers == NULL) {
        return -ENOMEM;
    }
    void *memory = mmap(NULL, SERIES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    supervisor->series = memory != MAP_FAILED ? series_make(memory, supervisor->process_count) : NULL;
    int status = queue_make(supervisor);
    supervisor->template = supervisor->options->preload ? &supervisor->workers[supervisor->worker_count] : NULL;
    for (uint32_t i = 0; status == 0 && i < supervisor->process_count; i++) {
        status = worker_init(&supervisor->workers[i], i);
        supervisor->workers[i].spare = i >= wanted && i < wanted + kept;
        supervisor->workers[i].vacant = i == wanted + kept;
        supervisor->workers[i].incidents = &supervisor->incidents;
    }
    return status == 0 && !capture_open(supervisor) ? -errno : status;
}

static void supervisor_finish(struct supervisor *supervisor)
{
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the runtime is shutting down");
    do { /* those in the queue are taken when the others are answered: the fallback acceptor may have had no room for
            them */
        recover_dismiss(&supervisor->orphans, &supervisor->listener, &err);
        orphans_reclaim(&supervisor->orphans, supervisor->queue_receive, clock_now());
    } while (supervisor->orphans.count > 0);
    listener_close(&supervisor->listener);
    admin_close(supervisor);
    signals_close(supervisor);
    capture_close(supervisor);
    fd_close(&supervisor->queue_send);
    fd_close(&supervisor->queue_receive);
    if (!supervisor->is_quiet) {
        log_info(EVENT_RUNTIME_STOPPED, "stopped, exit code %d", supervisor->exit_code);
    }
}

/* The sockets, and the control socket with them. Logs why it cannot be, and returns the exit code. */
static int supervisor_open_sockets(struct supervisor *supervisor)
{
    const struct options *options = supervisor->options;
    struct error err;
    errno = 0;
    int code = listener_open(&supervisor->listener, &LISTENER_WISH(options->socket_path, options->socket_mode), &err);
    if (code == EXIT_OK) {
        readyfile_remove(options->ready_file); /* left by a runtime that was killed: the lock is ours now */
        supervisor->listener.allowed_uids = &options->allowed_uids;
        code = admin_open(supervisor, &err);
    }
    if (code != EXIT_OK) {
        if (errno == EMFILE) {
            code = lack_report(supervisor, "cannot open the socket", -EMFILE);
        } else {
            log_error(EVENT_START_FAILED, "%s", err.text);
        }
        admin_close(supervisor);
        listener_close(&supervisor->listener);
    }
    return code;
}

int supervisor_run(const struct options *options, const struct worker_hooks *hooks)
{
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (supervisor == NULL) {
        log_error(EVENT_START_FAILED, "the supervisor cannot start: no memory");
        return EXIT_INTERNAL;
    }
    struct timespec wall = {0};
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    supervisor->started_wall = (uint64_t)wall.tv_sec * CLOCK_SECOND + (uint64_t)wall.tv_nsec;
    supervisor->options = options;
    supervisor->hooks = hooks;
    supervisor->epoll = supervisor->signals = supervisor->queue_send = supervisor->queue_receive = supervisor->printed =
        -1;
    supervisor->listener = supervisor->control = LISTENER_NONE;
    supervisor->asked_ends = WORKER_ENDS_NONE;
    supervisor->stop_reason = "";
    supervisor->started_at = clock_now();
    supervisor->snapshot.deadline = CLOCK_NEVER;
    desk_init(&supervisor->desk);
    const char *refused = reap_refused_call();
    if (refused == NULL && !signals_watch(supervisor)) { /* before the sockets: without our handlers a signal would end
                                                            us and leave their files behind */
        refused = "eventfd2 or epoll_create1";
    }
    if (refused != NULL) {
        int code = lack_report(supervisor, refused, -errno);
        free(supervisor);
        return code;
    }
    if (hooks->was_interrupted != NULL && hooks->was_interrupted(hooks->context)) {
        (void)kill(getpid(), SIGINT); /* again, for our own handler */
    }
    int code = supervisor_open_sockets(supervisor);
    if (code != EXIT_OK) {
        signals_close(supervisor);
        signals_restore(supervisor);
        free(supervisor);
        return code;
    }
    int status = supervisor_prepare(supervisor);
    if (status == 0) {
        supervisor_loop(supervisor);
    } else {
        supervisor->is_quiet = true;
        supervisor->exit_code = lack_report(supervisor, "the supervisor cannot start", status);
    }
    if (supervisor->is_worker) {
        return supervisor->worker_exit;
    }
    supervisor_finish(supervisor);
    if (supervisor->series != NULL) {
        (void)munmap(supervisor->series, SERIES_SIZE);
    }
    free(supervisor->workers);
    code = supervisor->exit_code;
    free(supervisor);
    return code;
}
