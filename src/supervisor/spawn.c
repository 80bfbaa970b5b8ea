/* Forks a worker. The new process drops what belongs to the supervisor and the other workers, starts its fdholder,
 * restores the signal handlers and the interpreter's state, and only then runs code that may be the user's (the
 * after_fork hook, then the function's module).
 *
 * The template (template.c) is forked likewise, and forks workers in its turn. Their parent has to be the supervisor,
 * which learns of deaths by that: so they are forked by a process between that ends at once. It is made by vfork() and
 * shares the template's memory, so the page tables of a large model are copied once, not twice; and fork() in it runs
 * the handlers of pthread_atfork() as in any process. */
#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/fdholder.h"
#include "server/rights.h"
#include "supervisor/state.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STALE_LOOK = 1000 }; /* ms between two looks of the template at its module */

/* In the new process: closes everything that belongs to the supervisor or to another worker. The template keeps the
 * scoreboards for those that it is going to fork. */
static void spawn_let_go(struct supervisor *supervisor, struct worker *worker)
{
    bool is_template = worker == supervisor->template;
    signals_close(supervisor);
    listener_forget(&supervisor->listener);
    desk_forget(&supervisor->desk);
    listener_forget(&supervisor->control);
    fd_close(&supervisor->control.fd);
    for (uint32_t i = 0; i < supervisor->orphans.count; i++) {
        fd_close(&supervisor->orphans.fds[i]);
    }
    for (uint32_t i = 0; i < supervisor->process_count; i++) {
        struct worker *other = &supervisor->workers[i];
        if (other != worker && is_template) {
            worker_close(other);
            fdstore_done(&other->fdstore);
        } else if (other != worker) {
            worker_forget(other);
        }
    }
    worker_close(worker);
    worker_ends_done(&supervisor->asked_ends);
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

static void spawn_bind(pid_t parent)
{
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_INTERNAL); /* the supervisor died before PR_SET_PDEATHSIG was set */
    }
}

static struct worker_seat spawn_seat(const struct supervisor *supervisor, struct worker *worker,
                                     const struct worker_ends *ends, bool is_loaded)
{
    const struct worker *marks = is_loaded ? supervisor->template : worker;
    return (struct worker_seat){.index = worker->index,
                                .is_loaded = is_loaded,
                                .listener = supervisor->listener.fd,
                                .control = ends->control,
                                .queue = supervisor->queue_receive,
                                .fdholder = ends->fdholder,
                                .stack = ends->stack,
                                .printed = {ends->printed[0], ends->printed[1]},
                                .mark_head = marks->lines != NULL ? &marks->lines[0].head : NULL,
                                .fdstore = &worker->fdstore,
                                .board = worker->board,
                                .series = supervisor->series};
}

/* The new process becomes the worker. */
static void spawn_become_worker(struct supervisor *supervisor, struct worker *worker, struct worker_ends *ends,
                                bool is_loaded)
{
    /* Not earlier: the fdholder shares this table of descriptors and waits for the end of a channel, which never comes
     * while the other end is open in the same table. Not after the hook: memory that Python changes after the fdholder
     * was forked is kept twice. */
    int status = fdholder_start(ends->fdholder, supervisor->listener.fd, worker->board,
                                (enum protocol)supervisor->options->protocol);
    if (!is_loaded) {
        signals_restore(supervisor); /* before the hook, which runs functions registered with os.register_at_fork; they
                                        may start threads */
    }
    supervisor->hooks->after_fork(supervisor->hooks->context, true);
    if (status < 0) {
        log_event(LOG_LEVEL_WARNING, EVENT_RUNTIME_DEGRADED, WORKER_FACTS(worker),
                  "worker %u has no fdholder (%s): a connection it has only just accepted is lost if it is killed",
                  worker->index, strerror(-status));
    }
    descriptors_for_worker(supervisor);
    spawn_name(worker);
    struct worker_seat seat = spawn_seat(supervisor, worker, ends, is_loaded);
    supervisor->is_worker = true;
    supervisor->worker_exit = supervisor->hooks->run(supervisor->hooks->context, &seat);
    fd_close(&ends->control); /* not the pipe for stacks: they show what holds up the end of the interpreter */
    fd_close(&ends->fdholder);
    fd_close(&supervisor->queue_receive);
    fdstore_done(&worker->fdstore);
    fd_close(&supervisor->listener.fd);
}

/* ---- the template's process -------------------------------------------------------------------------------------- */

/* Forks a worker. Returns its pid, 0 in it, or -errno. */
static pid_t spawn_fork_aside(const struct supervisor *supervisor)
{
    volatile pid_t pid = -EAGAIN; /* written in the process between, which shares this memory */
    supervisor->hooks->before_fork(supervisor->hooks->context);
    pid_t between = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): which ends before this returns */
    if (between == 0) {
        pid = fork(); /* NOLINT(clang-analyzer-unix.Vfork): all that POSIX does not know, glibc and musl do */
        if (pid == 0) {
            return 0; /* with a stack of its own */
        }
        pid = pid < 0 ? -errno : pid;
        _exit(EXIT_OK);
    }
    pid = between < 0 ? -errno : pid;
    while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR) {
    } /* then the worker is the supervisor's child */
    supervisor->hooks->after_fork(supervisor->hooks->context, false);
    return pid;
}

/* The next message of the supervisor's, whose end, or any other word, ends this process. */
static void spawn_await(int control, enum control_type type, struct control_message *message, int *fds)
{
    int status = control >= 0 ? -EAGAIN : -EBADF; /* -1: RLIMIT_NOFILE did not let it come, and poll() ignores that */
    while (status == -EAGAIN) {
        struct pollfd look = {.fd = control, .events = POLLIN};
        (void)poll(&look, 1, -1);
        status = control_receive(control, message, fds);
    }
    if (status != 1 || message->type != type) {
        _exit(EXIT_OK);
    }
}

/* A process that the template has forked becomes the worker that `message` names, with the descriptors that came with
 * it. */
static void spawn_take_seat(struct supervisor *supervisor, const struct control_message *message, const int *fds,
                            pid_t parent)
{
    struct control_message begin;
    int none[CONTROL_FDS_MAX];
    struct worker *worker = &supervisor->workers[message->value];
    bool has_output = message->count > 5;
    struct worker_ends ends = {.control = fds[2],
                               .fdholder = fds[3],
                               .stack = fds[4],
                               .printed = {has_output ? fds[5] : -1, has_output ? fds[6] : -1}};
    spawn_await(ends.control, CONTROL_BEGIN, &begin, none);
    spawn_bind(parent);
    for (uint32_t i = 0; i < supervisor->process_count; i++) {
        if (&supervisor->workers[i] != worker) {
            worker_forget(&supervisor->workers[i]);
        }
    }
    supervisor->listener.fd = fds[0];
    supervisor->queue_receive = fds[1];
    int status = fdstore_grow(&worker->fdstore, FDSTORE_KEPT);
    if (status == 0) {
        status = control_send(ends.control, CONTROL_SLOTS, worker->fdstore.receive, worker->fdstore.count);
    }
    if (status < 0) {
        _exit(EXIT_INTERNAL);
    }
    spawn_become_worker(supervisor, worker, &ends, true);
}

/* Loads the function, and forks workers until the supervisor is gone. Returns in these, when they end. */
static void spawn_become_template(struct supervisor *supervisor, struct worker_ends *ends, pid_t parent)
{
    const struct worker_hooks *hooks = supervisor->hooks;
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    fd_close(&supervisor->listener.fd);
    fd_close(&supervisor->queue_receive);
    fd_close(&ends->fdholder);
    signals_restore(supervisor);
    hooks->after_fork(hooks->context, true);
    descriptors_for_worker(supervisor);
    (void)prctl(PR_SET_NAME, "asya-template");
    struct worker_seat seat = spawn_seat(supervisor, supervisor->template, ends, false);
    hooks->load(hooks->context, &seat);
    for (;;) {
        struct pollfd look = {.fd = ends->control, .events = POLLIN};
        int found = poll(&look, 1, STALE_LOOK);
        if (found == 0 && hooks->is_stale(hooks->context)) {
            (void)control_send(ends->control, CONTROL_RETIRE, NULL, 0);
        }
        if (found <= 0) {
            continue;
        }
        spawn_await(ends->control, CONTROL_FORK, &message, fds);
        pid_t pid = spawn_fork_aside(supervisor);
        if (pid == 0) {
            worker_ends_done(ends);
            spawn_take_seat(supervisor, &message, fds, parent);
            return;
        }
        for (uint32_t i = 0; i < message.count; i++) {
            fd_close(&fds[i]);
        }
        (void)control_send_value(ends->control, CONTROL_FORKED, (int32_t)pid, NULL, 0);
    }
}

/* ---- the supervisor ---------------------------------------------------------------------------------------------- */

void spawn(struct supervisor *supervisor, struct worker *worker)
{
    struct worker_ends ends = WORKER_ENDS_NONE;
    const char *what = "cannot start the first worker";
    bool has_template = template_can_fork(supervisor, worker);
    int status = worker_prepare(worker, has_template ? supervisor->template : NULL, &ends);
    pid_t parent = getpid();
    pid_t pid = -1;
    if (status == 0 && has_template) {
        state_tell_worker(supervisor, worker);
        status = template_ask(supervisor, worker, &ends);
        if (status == 0) {
            return;
        }
    } else if (status == 0) {
        state_tell_worker(supervisor, worker);
        supervisor->hooks->before_fork(supervisor->hooks->context);
        what = "cannot start the first worker: fork";
        pid = fork(); /* NOLINT(clang-analyzer-unix.Vfork): all that POSIX does not know, glibc and musl do */
        status = pid < 0 ? -errno : 0;
        if (pid == 0) {
            spawn_bind(parent);
            spawn_let_go(supervisor, worker);
            rights_in_worker();
            if (worker == supervisor->template) {
                spawn_become_template(supervisor, &ends, parent);
            } else {
                spawn_become_worker(supervisor, worker, &ends, false);
            }
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
        log_error(EVENT_START_FAILED, "cannot start %s %u: %s; next try in %llu ms", state_kind(supervisor, worker),
                  worker->index, strerror(-status), (unsigned long long)(delay / CLOCK_MS));
        return;
    }
    template_watch(supervisor, worker, pid, &ends);
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_STARTED, WORKER_FACTS(worker), "%s %u, pid %d, loads %s",
              state_kind(supervisor, worker), worker->index, (int)pid, state_function(supervisor));
    if (worker == supervisor->template) {
        for (uint32_t i = 0; i < supervisor->worker_count; i++) {
            supervisor->workers[i].is_apart = false; /* it has all scoreboards as they are now */
        }
    }
}
