/* What workers report on their control channels (server/control.h lists the messages). A worker is the function's
 * process, so a message is a request that is checked, never a fact: one that makes no sense ends the worker. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/control.h"
#include "server/rights.h"
#include "supervisor/ledger.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>

enum { LISTEN_MAX = 1024 }; /* more than can wait in the channel: the kernel's usual limit allows some 300 */

#define DEAF_TIME (1 * CLOCK_SECOND) /* for a worker to end by itself after its channel was closed */

static void channel_worker_ready(struct supervisor *supervisor, struct worker *worker)
{
    if (worker->state != WORKER_STARTING) {
        return;
    }
    const struct log_facts facts = {
        .worker = worker->index, .pid = (int)worker->pid, .duration = clock_now() - worker->started_at};
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_READY, &facts, "worker %u is ready, pid %d, after %llu ms%s", worker->index,
              (int)worker->pid, (unsigned long long)(facts.duration / CLOCK_MS), worker->spare ? ", as a spare" : "");
    ledger_note_start(facts.duration);
    if (supervisor->options->spares > 0) {
        worker->state = WORKER_SPARE; /* spares_tend() says whether it serves */
    } else {
        spares_serve(supervisor, worker);
    }
}

static void channel_worker_starved(struct supervisor *supervisor, struct worker *worker)
{
    if (worker->state != WORKER_READY || worker->due) {
        return;
    }
    log_event(LOG_LEVEL_ERROR, EVENT_WORKER_STARVED, WORKER_FACTS(worker),
              "worker %u, pid %d, can take no more connections: its function holds all descriptors that RLIMIT_NOFILE "
              "allows, or has lowered that; look for files and sockets it does not close, with ls -l /proc/%d/fd",
              worker->index, (int)worker->pid, (int)worker->pid);
    replace_worker(supervisor, worker, "its function has used up the descriptors");
    socket_file_show_readiness(supervisor);
}

/* What the template says. */
static void channel_obey_template(struct supervisor *supervisor, const struct control_message *message, int *fds)
{
    const struct worker *template = supervisor->template;
    if (message->type == CONTROL_READY && template->state == WORKER_STARTING) {
        template_ready(supervisor);
    } else if (message->type == CONTROL_FORKED) {
        template_forked(supervisor, message->value);
    } else if (message->type == CONTROL_RETIRE && !template->due) {
        template_renew(supervisor, "its module has changed");
    }
    rights_close(fds, message->count);
}

static void channel_obey(struct supervisor *supervisor, struct worker *worker, const struct control_message *message,
                         int *fds)
{
    if (worker == supervisor->template) {
        channel_obey_template(supervisor, message, fds);
    } else if (message->type == CONTROL_READY && message->count == 0) {
        channel_worker_ready(supervisor, worker);
    } else if (message->type == CONTROL_WATCH && message->count == 0) {
        tick_wake(supervisor, clock_now());
    } else if (message->type == CONTROL_SHUT && message->count == 0) {
        supervisor->next_check = 0;
    } else if (message->type == CONTROL_RETIRE && message->count == 0) {
        replace_worker(supervisor, worker, "it has served its ASYA_MAX_REQUESTS");
    } else if (message->type == CONTROL_STARVED && message->count == 0) {
        channel_worker_starved(supervisor, worker);
    } else if (message->type == CONTROL_TRIM && message->count == 0) {
        fdstore_trim(&worker->fdstore, FDSTORE_KEPT);
    } else if (message->type == CONTROL_SLOTS) {
        if (worker_add_slots(worker, fds, message->count, supervisor->numbers_end) < message->count &&
            log_pass(LOG_LEVEL_WARNING, "fdstore entries")) {
            log_event(LOG_LEVEL_WARNING, EVENT_CONNECTION_TROUBLE, WORKER_FACTS(worker),
                      "worker %u: no descriptors are left here for more fdstore entries (RLIMIT_NOFILE): clients "
                      "whose connections its function closes get no reply",
                      worker->index);
        }
    } else {
        rights_close(fds, message->count);
    }
}

/* The channel was closed, or has delivered what no worker sends. In the latter case the function wrote to it, and the
 * worker is killed. */
static void channel_end(struct supervisor *supervisor, struct worker *worker, int status)
{
    (void)epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, worker->control, NULL);
    if (status == -EPROTO) {
        log_event(LOG_LEVEL_ERROR, EVENT_WORKER_TAMPERED, WORKER_FACTS(worker),
                  "worker %u sent an invalid control message and is replaced", worker->index);
        worker_kill(worker, SIGKILL);
    }
    if (worker == supervisor->template && worker->state != WORKER_STARTING) {
        worker_kill(worker, SIGKILL); /* it could not hear whom to fork. One that loads finds that out, and says it */
    } else if (worker->state == WORKER_READY ||
               worker->state == WORKER_SPARE) { /* usually it is ending and SIGCHLD follows; if not, the function has
                                                   closed the channel */
        worker->deaf_at = clock_after(clock_now(), DEAF_TIME);
    }
}

/* A worker could send without end, so at most LISTEN_MAX messages are read in one go and the rest in the next round of
 * the loop. A dead worker sends no more, and all it has sent is read: the channel holds fewer than that. */
void channel_read(struct supervisor *supervisor, struct worker *worker)
{
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    for (int i = 0; i < LISTEN_MAX && worker->control >= 0; i++) {
        int status = control_receive(worker->control, &message, fds);
        if (status == -EAGAIN || status == -ENOMEM || status == -ENOBUFS) {
            return; /* nothing to read, or no memory for it now: it stays in the channel */
        }
        if (status <= 0) {
            channel_end(supervisor, worker, status);
            return;
        }
        channel_obey(supervisor, worker, &message, fds);
    }
}
