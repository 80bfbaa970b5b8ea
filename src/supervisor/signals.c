/* The signals that the supervisor obeys. */
#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervisor/state.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void signals_handle(struct supervisor *supervisor, const struct signalfd_siginfo *info)
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
        } else if (supervisor->kill_at != CLOCK_NEVER) {
            stop_now(supervisor, "a second signal");
        }
        return;
    default:
        return;
    }
}

void signals_read(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        signals_handle(supervisor, &info);
    }
}

bool signals_watch(struct supervisor *supervisor)
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
void signals_unwatch(struct supervisor *supervisor)
{
    fd_close(&supervisor->epoll);
    fd_close(&supervisor->signals);
    (void)sigprocmask(SIG_SETMASK, &supervisor->inherited_mask, NULL);
}
