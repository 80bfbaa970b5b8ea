/* Reaping: how the supervisor learns that a child has ended, was stopped or continues. waitid() with WNOWAIT finds a
 * child and leaves it a zombie, so that its number still belongs to it while its channel is read and its process group
 * is signalled; only then wait4() takes it away. */
#include "base/clock.h"
#include "base/exits.h"
#include "base/log.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct worker *reap_find_worker(const struct supervisor *supervisor, pid_t pid)
{
    for (uint32_t i = 0; i < supervisor->process_count; i++) {
        if (supervisor->workers[i].pid == pid && pid > 0) {
            return &supervisor->workers[i];
        }
    }
    return NULL;
}

/* A stopped worker serves nobody. The ticks take back what it has not read, until it continues or is dead. */
static void reap_note_stop(struct supervisor *supervisor, const siginfo_t *found)
{
    siginfo_t info = {0};
    (void)waitid(P_PID, (id_t)found->si_pid, &info, WSTOPPED | WCONTINUED | WNOHANG);
    struct worker *worker = reap_find_worker(supervisor, found->si_pid);
    if (worker != NULL) {
        /* use what this call took: the worker may have continued since it was found stopped */
        worker->stopped = (info.si_pid != 0 ? info.si_code : found->si_code) != CLD_CONTINUED;
        worker->stopped_at = clock_now();
        tick_wake(supervisor, clock_now());
    }
}

static uint64_t reap_time(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * CLOCK_SECOND + (uint64_t)time->tv_usec * 1000;
}

/* The order matters. First read what the dead worker had reported: this may signal its number, so the number must still
 * be its own. Then reap it. Then answer and restart. A stop of the runtime comes last, since it signals all workers
 * that live. */
static void reap_bury(struct supervisor *supervisor, pid_t pid)
{
    struct worker *worker = reap_find_worker(supervisor, pid);
    if (worker != NULL) {
        channel_read(supervisor, worker); /* new fdstore entries, or that it was ready */
        remains_terminate(pid);
    }
    int status = 0;
    struct rusage usage;
    if (wait4(pid, &status, WNOHANG, &usage) == pid && worker != NULL) {
        struct cause cause = cause_from_wait(status);
        cause.peak_rss = (uint64_t)usage.ru_maxrss * 1024;
        worker->cpu += reap_time(&usage.ru_utime) + reap_time(&usage.ru_stime);
        remains_add(&supervisor->remains, pid, stop_term(supervisor, clock_now()));
        int code = restart_after_death(supervisor, worker, &cause);
        if (code != EXIT_OK) {
            stop_begin(supervisor, "the function cannot be loaded", code);
        }
    }
}

void reap_lost(struct supervisor *supervisor, struct worker *worker)
{
    struct cause cause = {.lost = true};
    log_event(
        LOG_LEVEL_ERROR, EVENT_WORKER_LOST, WORKER_FACTS(worker),
        "worker %u, pid %d, was killed and does not end: it is frozen, traced, or waits in the kernel. It is left "
        "behind",
        worker->index, (int)worker->pid);
    channel_read(supervisor, worker);
    remains_terminate(worker->pid);
    remains_add(&supervisor->remains, worker->pid, stop_term(supervisor, clock_now()));
    int code = restart_after_death(supervisor, worker, &cause);
    worker_lose(worker);
    if (code != EXIT_OK) {
        stop_begin(supervisor, "the function cannot be loaded", code);
    }
}

const char *reap_refused_call(void)
{
    siginfo_t info;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno != ECHILD && errno != EINTR) {
        return "waitid";
    }
    return kill(getpid(), 0) != 0 ? "kill" : NULL;
}

/* Also reaps orphans that the kernel gave us because we are PID 1 or a subreaper. */
void reap(struct supervisor *supervisor)
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
            reap_note_stop(supervisor, &info);
        } else {
            reap_bury(supervisor, info.si_pid);
        }
    }
}
