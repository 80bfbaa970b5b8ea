/*
 * The queue through which the supervisor passes connections to the workers: a socketpair whose receiving end all
 * workers share; the first one that reads gets the connection. The function has that end too and may shut it down for
 * all, so then a new one is made. Connections that the function reads from it for itself are lost.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/control.h"
#include "supervisor/running.h"
#include "supervisor/state.h"

#include <poll.h>
#include <string.h>

int queue_make(struct supervisor *supervisor)
{
    return control_pair(&supervisor->queue_send, &supervisor->queue_receive);
}

bool queue_renew(struct supervisor *supervisor)
{
    int send = supervisor->queue_send;
    int receive = supervisor->queue_receive;
    int status = queue_make(supervisor);
    if (status < 0) {
        log_warning(EVENT_RUNTIME_ERROR,
                    "the queue to the workers was shut down by the function, and there cannot be another yet: %s",
                    strerror(-status));
        return false;
    }
    log_warning(EVENT_SOCKET_RESTORED, "the queue to the workers was shut down by the function; there is another one");
    orphans_reclaim(&supervisor->orphans, receive, clock_now());
    fd_close(&send);
    fd_close(&receive);
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        worker_give(&supervisor->workers[i], CONTROL_QUEUE, supervisor->queue_receive);
    }
    return true;
}

void queue_check(struct supervisor *supervisor)
{
    struct pollfd look = {.fd = supervisor->queue_send, .events = POLLRDHUP};
    if (poll(&look, 1, 0) > 0) {
        (void)queue_renew(supervisor);
    }
}

bool queue_is_waiting(const struct supervisor *supervisor)
{
    struct pollfd look = {.fd = supervisor->queue_receive, .events = POLLIN};
    return (poll(&look, 1, 0) == 1 && (look.revents & POLLIN) != 0) || listener_is_waiting(&supervisor->listener);
}

static bool queue_is_asleep(const struct worker *worker)
{
    return worker->state == WORKER_READY && worker->is_still && !worker->stopped &&
           atomic_load_explicit(&worker->board->busy, memory_order_relaxed) == 0;
}

bool queue_is_unheard(const struct worker *worker)
{
    return queue_is_asleep(worker) && worker->nudged == worker->progress;
}

/* Each connection wakes only one waiting process (EPOLLEXCLUSIVE). If that one was stopped or frozen, or had no
 * capacity any more, the others go on sleeping although a connection waits, so they are told to look. So is a worker
 * that holds connections: whether it is at rest or blocked shows in what it does then. Only once for each time that a
 * worker makes no progress: messages to one that does not read its channel would fill it, and a stop could not be told.
 */
void queue_nudge(struct supervisor *supervisor)
{
    bool is_waiting = queue_is_waiting(supervisor);
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (queue_is_asleep(worker) && !queue_is_unheard(worker) && (is_waiting || running_holds_any(worker->board))) {
            worker->nudged = worker->progress;
            (void)control_send(worker->control, CONTROL_LOOK, NULL,
                               0); /* if the channel is full, its messages wake the worker */
        }
    }
}

void queue_wake(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count && queue_is_waiting(supervisor); i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_READY && !worker->stopped) {
            (void)control_send(worker->control, CONTROL_LOOK, NULL, 0); /* as above */
        }
    }
}
