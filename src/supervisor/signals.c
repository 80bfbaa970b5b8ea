/*
 * Signals of the supervisor.
 *
 * A handler notes the signal and writes to an eventfd that the loop waits for. Blocking the signals and reading a
 * signalfd would be enough only if ours were the only thread. A thread that was started before us (by sitecustomize, an
 * agent, a debugger) does not block them: the kernel would deliver SIGTERM to it, which ends the process, or SIGCHLD,
 * which is lost. A handler runs in any thread. In our own thread the signals are blocked except while the loop waits.
 * So no other system call is interrupted, and no handler runs between a fork and the moment when the new process has
 * restored its own handlers.
 *
 * The supervisor also looks for dead children once a second, in case SIGCHLD never reached a handler
 * (docs/decisions/0017).
 */
#include "base/clock.h"
#include "base/fd.h"
#include "server/cancel.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* SIGCHLD is assumed when the last look for dead children was REAP_AFTER ago. The loop turns once a second anyway while
 * it serves; REAP_LATE makes it turn in other phases. */
#define REAP_AFTER (1 * CLOCK_SECOND)
#define REAP_LATE  (2 * CLOCK_SECOND)

static const int watched[] = {
    SIGCHLD, SIGTERM, SIGINT,    SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2,
    SIGALRM, SIGPROF, SIGVTALRM, SIGPOLL, SIGPWR}; /* the last six are caught so that they do not end us, and ignored */

enum { WATCHED_COUNT = sizeof watched / sizeof watched[0] };

static struct sigaction inherited[WATCHED_COUNT];
static _Atomic uint32_t noted; /* a bit for each signal that came */
static _Atomic int wake = -1;  /* the eventfd (supervisor.signals) for the handler; -1: none */

/* The handler: may run in any thread at any time. */
static void signals_note(int number)
{
    int kept = errno;
    uint64_t one = 1;
    atomic_fetch_or(&noted, UINT32_C(1) << number);
    if (write(atomic_load(&wake), &one, sizeof one) < 0) {
        errno = kept; /* the eventfd is readable already, or closed because the supervisor has finished */
    }
    errno = kept;
}

/* Has the pending signals delivered. epoll_pwait() does that only where it has to wait: with a worker or clients that
 * always have something for us, it never would. */
static void signals_let_in(const sigset_t *open)
{
    sigset_t closed;
    (void)sigprocmask(SIG_SETMASK, open, &closed);
    (void)sigprocmask(SIG_SETMASK, &closed, NULL);
}

int signals_wait(struct supervisor *supervisor, struct epoll_event *events, int count, uint64_t deadline)
{
    sigset_t open = supervisor->inherited_mask;
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        sigdelset(&open, watched[i]); /* they may have been blocked by the process that started us */
    }
    uint64_t next = clock_earlier(deadline, clock_after(supervisor->reaped_at, REAP_LATE));
    int found = epoll_pwait(supervisor->epoll, events, count, clock_timeout(clock_now(), next), &open);
    if (found >= 0) {
        signals_let_in(&open);
    }
    return found;
}

void signals_drain(const struct supervisor *supervisor)
{
    uint64_t told;
    (void)!read(supervisor->signals, &told, sizeof told); /* the signals themselves are in `noted` */
}

uint32_t signals_take(struct supervisor *supervisor, uint64_t now)
{
    uint32_t came = atomic_exchange(&noted, 0);
    if (now >= clock_after(supervisor->reaped_at, REAP_AFTER)) {
        came |= UINT32_C(1) << SIGCHLD;
        supervisor->reaped_at = now;
    }
    return came;
}

/* The signals to workers end a process that has no handler for them. A worker inherits that they are ignored, until it
 * has installed its own; programs that it starts have the default again. */
static void signals_ignore_ours(void)
{
    static const int ours[] = {NEWS_SIGNAL, STACK_SIGNAL, CANCEL_SIGNAL};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        (void)sigaction(ours[i], &ignore, NULL);
    }
}

/* In this order, so that a handler always finds the eventfd and our mask. */
static void signals_install(struct supervisor *supervisor)
{
    sigset_t set;
    sigemptyset(&set);
    signals_ignore_ours();
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        sigaddset(&set, watched[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &set, &supervisor->inherited_mask); /* cannot fail with these arguments */
    atomic_store(&wake, supervisor->signals);
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        struct sigaction action = {.sa_handler = signals_note, .sa_flags = SA_RESTART | SA_ONSTACK};
        (void)sigaction(watched[i], NULL, &inherited[i]);
        /* Even if it was ignored when we were started: with SIGCHLD ignored we would not learn of deaths, and a request
         * to end must be obeyed. Except SIGHUP: nohup sets it to be ignored on purpose. */
        if (watched[i] != SIGHUP || inherited[i].sa_handler != SIG_IGN) {
            (void)sigaction(watched[i], &action, NULL);
        }
        if (watched[i] == SIGCHLD && inherited[i].sa_handler == SIG_IGN) {
            inherited[i].sa_handler =
                SIG_DFL; /* for the workers: with SIGCHLD ignored the function could not wait for its subprocesses */
        }
    }
}

bool signals_watch(struct supervisor *supervisor)
{
    supervisor->signals = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    supervisor->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (supervisor->signals < 0 || supervisor->epoll < 0 ||
        epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->signals, &event) != 0) {
        fd_close(&supervisor->signals);
        fd_close(&supervisor->epoll);
        return false;
    }
    signals_install(supervisor);
    return true;
}

void signals_close(struct supervisor *supervisor)
{
    atomic_store(&wake, -1);
    fd_close(&supervisor->signals);
    fd_close(&supervisor->epoll);
}

void signals_restore(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        (void)sigaction(watched[i], &inherited[i], NULL);
    }
    (void)sigprocmask(SIG_SETMASK, &supervisor->inherited_mask, NULL);
}
