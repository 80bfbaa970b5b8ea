/*
 * The signals that the supervisor obeys.
 *
 * Handlers note them and write to a descriptor that the loop waits for. Blocked signals and a signalfd would do only as
 * long as no other thread exists: one that somebody started before us (sitecustomize, an agent, a debugger) has them
 * unblocked, the kernel gives SIGTERM to it, and that ends the process, or SIGCHLD, and that is lost. A handler runs in
 * whichever thread. In ours the signals stay blocked but for the wait in the loop, so that no other system call is
 * interrupted, and none is handled between a fork and the moment the new process has its own handlers again.
 *
 * Deaths are looked for once a second as well, whoever has taken SIGCHLD (decision 0017).
 */
#include "base/clock.h"
#include "base/fd.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Deaths are looked for so long after the last look, if the loop turns then, as it does once a second while it serves;
 * else it is made to turn. */
#define REAP_AFTER (1 * CLOCK_SECOND)
#define REAP_LATE  (2 * CLOCK_SECOND)

static const int watched[] = {SIGCHLD, SIGTERM, SIGINT,  SIGQUIT,   SIGHUP,  SIGUSR1,
                              SIGUSR2, SIGALRM, SIGPROF, SIGVTALRM, SIGPOLL, SIGPWR}; /* the last six: ignored */

enum { WATCHED_COUNT = sizeof watched / sizeof watched[0] };

static struct sigaction inherited[WATCHED_COUNT];
static _Atomic uint32_t noted; /* a bit for each signal that came */
static _Atomic int wake = -1;  /* supervisor.signals, for the handler */

/* In any thread, at any time. */
static void signals_note(int number)
{
    int kept = errno;
    uint64_t one = 1;
    atomic_fetch_or(&noted, UINT32_C(1) << number);
    if (write(atomic_load(&wake), &one, sizeof one) < 0) {
        errno = kept; /* it is readable already, or the supervisor is through */
    }
    errno = kept;
}

int signals_wait(struct supervisor *supervisor, struct epoll_event *events, int count, uint64_t deadline)
{
    sigset_t open = supervisor->inherited_mask;
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        sigdelset(&open, watched[i]); /* whoever started us may have blocked them */
    }
    uint64_t next = clock_earlier(deadline, clock_after(supervisor->reaped_at, REAP_LATE));
    return epoll_pwait(supervisor->epoll, events, count, clock_timeout(clock_now(), next), &open);
}

void signals_drain(const struct supervisor *supervisor)
{
    uint64_t told;
    (void)!read(supervisor->signals, &told, sizeof told); /* what came is in `noted` */
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

/* In this order: whoever is told by a signal finds the descriptor, and the mask. */
static void signals_install(struct supervisor *supervisor)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        sigaddset(&set, watched[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &set, &supervisor->inherited_mask); /* fails for no argument of this kind */
    atomic_store(&wake, supervisor->signals);
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        struct sigaction action = {.sa_handler = signals_note, .sa_flags = SA_RESTART | SA_ONSTACK};
        (void)sigaction(watched[i], NULL, &inherited[i]);
        /* Whatever was inherited: with SIGCHLD ignored no death could be learnt, and who wants us to end must not be
         * ignored. But SIGHUP stays so, which is what nohup is for. */
        if (watched[i] != SIGHUP || inherited[i].sa_handler != SIG_IGN) {
            (void)sigaction(watched[i], &action, NULL);
        }
        if (watched[i] == SIGCHLD && inherited[i].sa_handler == SIG_IGN) {
            inherited[i].sa_handler = SIG_DFL; /* the function's subprocesses could not be waited for either */
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
