/*
 * The queue of connections on their way to whichever worker takes them first. All workers hold its receiving end, and
 * with them the function, which may shut it down for all: then there is another one. What the function takes from it
 * for itself is lost.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/control.h"
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
        log_warning("the queue to the workers was shut down by the function, and there cannot be another yet: %s",
                    strerror(-status));
        return false;
    }
    log_warning("the queue to the workers was shut down by the function; there is another one");
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

/* Each message wakes one process that waits (EPOLLEXCLUSIVE), and that may be one that was stopped or frozen: then the
 * others sleep beside a queue that is not empty. Once for each time a worker stands still, since one that does not read
 * its channel must not find it full at a stop. */
void queue_nudge(struct supervisor *supervisor)
{
    struct pollfd look = {.fd = supervisor->queue_receive, .events = POLLIN};
    if (poll(&look, 1, 0) != 1 || (look.revents & POLLIN) == 0) {
        return;
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        bool is_asleep = worker->state == WORKER_READY && worker->is_still && !worker->stopped &&
                         atomic_load_explicit(&worker->board->busy, memory_order_relaxed) == 0;
        if (is_asleep && worker->nudged != worker->progress) {
            worker->nudged = worker->progress;
            (void)control_send(worker->control, CONTROL_LOOK, NULL, 0); /* a full channel wakes it as well */
        }
    }
}
