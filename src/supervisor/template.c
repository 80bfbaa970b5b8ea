/*
 * The template (ASYA_PRELOAD): a process that has loaded the function, serves nobody, and is what workers are forked
 * from (docs/decisions/0028-preload.md).
 *
 *   the template   DOWN --spawn--> STARTING --CONTROL_READY--> SPARE --its death--> DOWN
 *   a worker       DOWN --CONTROL_FORK, CONTROL_FORKED--> STARTING --CONTROL_READY--> ...
 *
 * It has the entry behind those of the workers. One worker is asked for at a time; until its process is known the entry
 * is DOWN and its descriptors wait here. The process itself waits for CONTROL_BEGIN, and ends when its channel does: so
 * whatever becomes of the template, of the supervisor or of the time, nobody has to look for it.
 *
 * A worker waits for a template that loads: it would be loaded later itself, and share nothing. It loads the function
 * itself where the template could not, and always where the template has said that the function cannot be forked
 * (`vacant`).
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/statm.h"
#include "server/control.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

/* To fork: the kernel takes some 20 ms for a GiB in pages of 4 KiB. */
#define FORK_TIME     (3 * CLOCK_SECOND)
#define FORK_TIME_GIB (200 * CLOCK_MS)

static bool template_is_loading(const struct supervisor *supervisor)
{
    const struct worker *template = supervisor->template;
    bool is_due = template->state == WORKER_DOWN && template->spawn_at <= clock_now();
    bool is_dying = template->pid > 0 && template->killed_at != CLOCK_NEVER;
    return template->state == WORKER_STARTING || is_dying || is_due;
}

bool template_is_awaited(const struct supervisor *supervisor, const struct worker *worker)
{
    const struct worker *template = supervisor->template;
    return template != NULL && worker != template && !worker->is_apart && !template->vacant &&
           (supervisor->asked != NULL || (!supervisor->load_failed && template_is_loading(supervisor)));
}

bool template_can_fork(const struct supervisor *supervisor, const struct worker *worker)
{
    const struct worker *template = supervisor->template;
    return template != NULL && template->state == WORKER_SPARE && template->killed_at == CLOCK_NEVER &&
           !template->stopped && !worker->is_apart && supervisor->asked == NULL;
}

int template_ask(struct supervisor *supervisor, struct worker *worker, struct worker_ends *ends)
{
    const int fds[] = {supervisor->listener.fd, supervisor->queue_receive, ends->control, ends->fdholder, ends->stack,
                       ends->printed[0],        ends->printed[1]};
    uint32_t count = ends->printed[0] >= 0 ? 7 : 5;
    int status = control_send_value(supervisor->template->control, CONTROL_FORK, (int32_t)worker->index, fds, count);
    if (status == 0) {
        supervisor->asked = worker;
        supervisor->asked_ends = *ends;
        uint64_t time = FORK_TIME + (supervisor->template->progress >> 30) * FORK_TIME_GIB;
        supervisor->asked_until = clock_after(clock_now(), time);
    } else if (status == -EPIPE || status == -ECONNRESET) { /* it has died, and SIGCHLD has not come yet */
        worker_kill(supervisor->template, SIGKILL);
        worker_ends_done(ends);
        worker_ended(worker);
        status = 0;
    }
    return status;
}

void template_watch(struct supervisor *supervisor, struct worker *worker, pid_t pid, struct worker_ends *ends)
{
    worker_forked(worker, pid, ends, clock_now());
    remains_forget(&supervisor->remains, pid);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = worker};
    if (epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, worker->control, &event) != 0 ||
        !capture_watch(supervisor, worker)) {
        log_event(LOG_LEVEL_ERROR, EVENT_RUNTIME_ERROR, WORKER_FACTS(worker), "cannot watch worker %u: %s",
                  worker->index, strerror(errno));
        worker_kill(worker, SIGKILL);
    }
}

void template_abandon(struct supervisor *supervisor)
{
    struct worker *worker = supervisor->asked;
    if (worker != NULL) {
        supervisor->asked = NULL;
        worker_ends_done(&supervisor->asked_ends);
        worker_ended(worker);
    }
}

/* Whether it is a child of ours, and nobody else's. It may be dead already: then it is reaped as any worker. */
static bool template_is_new_child(const struct supervisor *supervisor, pid_t pid)
{
    siginfo_t info;
    for (uint32_t i = 0; i < supervisor->process_count; i++) {
        if (supervisor->workers[i].pid == pid) {
            return false;
        }
    }
    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void template_forked(struct supervisor *supervisor, int32_t value)
{
    struct worker *worker = supervisor->asked;
    if (worker == NULL) {
        return;
    }
    if (!template_is_new_child(supervisor, value)) {
        template_abandon(supervisor);
        uint64_t delay = worker_restart_delay(++worker->failures);
        worker->spawn_at = clock_after(clock_now(), delay);
        log_error(EVENT_START_FAILED, "the template cannot fork worker %u: %s; next try in %llu ms", worker->index,
                  value < 0 ? strerror(-value) : "its process has ended", (unsigned long long)(delay / CLOCK_MS));
        return;
    }
    supervisor->asked = NULL;
    template_watch(supervisor, worker, value, &supervisor->asked_ends);
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_STARTED, WORKER_FACTS(worker),
              "worker %u, pid %d, was forked from the template, pid %d", worker->index, (int)worker->pid,
              (int)supervisor->template->pid);
    worker_give(worker, CONTROL_BEGIN, -1);
}

void template_ready(struct supervisor *supervisor)
{
    struct worker *template = supervisor->template;
    const struct log_facts facts = {
        .worker = template->index, .pid = (int)template->pid, .duration = clock_now() - template->started_at};
    supervisor->load_failed = false;
    template->state = WORKER_SPARE;
    template->progress = statm_read(template->pid, STATM_RESIDENT);
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_READY, &facts,
              "template %u, pid %d, is loaded after %llu ms: workers are forked from it", template->index,
              (int)template->pid, (unsigned long long)(facts.duration / CLOCK_MS));
}

void template_renew(struct supervisor *supervisor, const char *reason)
{
    struct worker *template = supervisor->template;
    if (template == NULL || supervisor->phase != PHASE_SERVING) {
        return;
    }
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_REPLACED, WORKER_FACTS(template), "template %u is loaded anew: %s",
              template->index, reason);
    template->vacant = supervisor->load_failed = false;
    template->spawn_at = clock_now();
    template->due = template->pid > 0;
    worker_kill(template, SIGKILL); /* it holds nothing that could be lost */
}

void template_check(struct supervisor *supervisor)
{
    struct worker *template = supervisor->template;
    if (template == NULL || template->state != WORKER_SPARE || template->due) {
        return;
    }
    uint64_t size = statm_read(template->pid, STATM_RESIDENT);
    if (size > template->progress + template->progress / 4 + TEMPLATE_GROWTH) {
        char reason[64];
        (void)snprintf(reason, sizeof reason, "it has grown to %llu MiB", (unsigned long long)(size >> 20));
        template_renew(supervisor, reason);
    }
}

uint64_t template_tend(struct supervisor *supervisor, uint64_t now)
{
    struct worker *template = supervisor->template;
    if (supervisor->asked == NULL || template->killed_at != CLOCK_NEVER) {
        return CLOCK_NEVER;
    }
    if (supervisor->asked_until <= now) {
        log_event(LOG_LEVEL_ERROR, EVENT_WORKER_ENDED, WORKER_FACTS(template),
                  "template %u, pid %d, does not fork: it is ended", template->index, (int)template->pid);
        supervisor->load_failed = true;
        worker_kill(template, SIGKILL);
        return CLOCK_NEVER;
    }
    return supervisor->asked_until;
}

void template_ended(struct supervisor *supervisor)
{
    template_abandon(supervisor);
    worker_ended(supervisor->template);
}
