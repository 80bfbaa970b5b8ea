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
