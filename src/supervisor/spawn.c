/* Forks a worker. The new process drops what belongs to the supervisor and the other workers, starts its fdholder,
 * restores the signal handlers and the interpreter's state, and only then runs code that may be the user's (the
 * after_fork hook, then the function's module). */
#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/fdholder.h"
#include "server/rights.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

/* In the new process: closes everything that belongs to the supervisor or to another worker. */
static void spawn_let_go(struct supervisor *supervisor, struct worker *worker)
{
    signals_close(supervisor);
    listener_forget(&supervisor->listener);
    desk_forget(&supervisor->desk);
    listener_forget(&supervisor->control);
    fd_close(&supervisor->control.fd);
    for (uint32_t i = 0; i < supervisor->orphans.count; i++) {
        fd_close(&supervisor->orphans.fds[i]);
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        if (&supervisor->workers[i] != worker) {
            worker_forget(&supervisor->workers[i]);
        }
    }
    worker_close(worker);
    fd_close(&supervisor->printed);
    fd_close(&supervisor->queue_send);
}

/* What ps, top and core dumps call it: "asya-worker-0". Threads that it starts are called so too. */
static void spawn_name(const struct worker *worker)
{
    char name[16]; /* the kernel cuts it here */
    (void)snprintf(name, sizeof name, "asya-worker-%u", (unsigned)worker->index);
    (void)prctl(PR_SET_NAME, name);
}

/* The new process becomes the worker. */
static void spawn_become_worker(struct supervisor *supervisor, struct worker *worker, struct worker_ends *ends,
                                pid_t parent)
{
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_INTERNAL); /* the supervisor died before PR_SET_PDEATHSIG was set */
    }
    spawn_let_go(supervisor, worker);
    rights_in_worker();
    /* Not earlier: the fdholder shares this table of descriptors and waits for the end of a channel, which never comes
     * while the other end is open in the same table. Not after the hook: memory that Python changes after the fdholder
     * was forked is kept twice. */
    int status = fdholder_start(ends->fdholder, supervisor->listener.fd, worker->board,
                                (enum protocol)supervisor->options->protocol);
    signals_restore(supervisor); /* before the hook, which runs functions registered with os.register_at_fork; they may
                                    start threads */
    supervisor->hooks->after_fork(supervisor->hooks->context, true);
    if (status < 0) {
        log_event(LOG_LEVEL_WARNING, EVENT_RUNTIME_DEGRADED, WORKER_FACTS(worker),
                  "worker %u has no fdholder (%s): a connection it has only just accepted is lost if it is killed",
                  worker->index, strerror(-status));
    }
    descriptors_for_worker(supervisor);
    spawn_name(worker);
    struct worker_seat seat = {.index = worker->index,
                               .listener = supervisor->listener.fd,
                               .control = ends->control,
                               .queue = supervisor->queue_receive,
                               .fdholder = ends->fdholder,
                               .stack = ends->stack,
                               .printed = {ends->printed[0], ends->printed[1]},
                               .mark_head = worker->lines != NULL ? &worker->lines[0].head : NULL,
                               .fdstore = &worker->fdstore,
                               .board = worker->board,
                               .series = supervisor->series};
    supervisor->is_worker = true;
    supervisor->worker_exit = supervisor->hooks->run(supervisor->hooks->context, &seat);
    fd_close(&ends->control); /* not the pipe for stacks: they show what holds up the end of the interpreter */
    fd_close(&ends->fdholder);
    fd_close(&supervisor->queue_receive);
    fdstore_done(&worker->fdstore);
    fd_close(&supervisor->listener.fd);
}

void spawn(struct supervisor *supervisor, struct worker *worker)
{
    struct worker_ends ends = WORKER_ENDS_NONE;
    const char *what = "cannot start the first worker";
    int status = worker_prepare(worker, &ends);
    pid_t parent = getpid();
    pid_t pid = -1;
    if (status == 0) {
        state_tell_worker(supervisor, worker);
        supervisor->hooks->before_fork(supervisor->hooks->context);
        what = "cannot start the first worker: fork";
        pid = fork();
        status = pid < 0 ? -errno : 0;
        if (pid == 0) {
            spawn_become_worker(supervisor, worker, &ends, parent);
            return;
        }
        supervisor->hooks->after_fork(supervisor->hooks->context, false);
    }
    uint64_t now = clock_now();
    if (status < 0) {
        worker_ends_done(&ends);
        worker_ended(worker);
        if (supervisor->phase == PHASE_STARTING) {
            stop_begin(supervisor, "", lack_report(supervisor, what, status));
            return;
        }
        uint64_t delay = worker_restart_delay(++worker->failures);
        worker->spawn_at = clock_after(now, delay);
        log_error(EVENT_START_FAILED, "cannot start worker %u: %s; next try in %llu ms", worker->index,
                  strerror(-status), (unsigned long long)(delay / CLOCK_MS));
        return;
    }
    worker_forked(worker, pid, &ends, now);
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_STARTED, WORKER_FACTS(worker), "worker %u, pid %d, loads %s", worker->index,
              (int)pid, state_function(supervisor));
    remains_forget(&supervisor->remains, pid);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = worker};
    if (epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, worker->control, &event) != 0 ||
        !capture_watch(supervisor, worker)) {
        log_event(LOG_LEVEL_ERROR, EVENT_RUNTIME_ERROR, WORKER_FACTS(worker), "cannot watch worker %u: %s",
                  worker->index, strerror(errno));
        worker_kill(worker, SIGKILL);
    }
}
