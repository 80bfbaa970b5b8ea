/* The end: who is being served, or has connected, is answered first; then the workers go. */
#include "base/clock.h"
#include "base/exits.h"
#include "base/log.h"
#include "server/control.h"
#include "supervisor/readyfile.h"
#include "supervisor/state.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define TERM_TIME (1 * CLOCK_SECOND) /* between SIGTERM and SIGKILL */

static void stop_kill_all(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        worker_kill(&supervisor->workers[i], SIGKILL);
    }
}

uint64_t stop_term(const struct supervisor *supervisor, uint64_t now)
{
    if (supervisor->is_over_time) {
        return now;
    }
    uint64_t term = clock_after(now, TERM_TIME);
    return supervisor->phase == PHASE_STOPPING ? clock_earlier(term, supervisor->kill_at) : term;
}

void supervisor_stop(struct supervisor *supervisor, const char *reason, int exit_code)
{
    if (supervisor->phase == PHASE_STOPPING) {
        return;
    }
    bool started = supervisor->phase != PHASE_STARTING;
    if (started || exit_code == EXIT_OK) { /* else the line that names the cause shall be the last */
        log_info("stopping: %s", reason);
    }
    supervisor->phase = PHASE_STOPPING;
    supervisor->exit_code = exit_code;
    supervisor->is_quiet = !started && exit_code != EXIT_OK;
    supervisor->kill_at = clock_after(clock_now(), supervisor->options->grace_period);
    readyfile_remove(supervisor->options->ready_file);
    desk_close(supervisor);
    listener_hide(&supervisor->listener);
    if (supervisor_count(supervisor, WORKER_READY) + supervisor_count(supervisor, WORKER_STOPPING) > 0) {
        (void)desk_hand_over(supervisor, clock_now());
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_STARTING) { /* it serves nobody */
            worker_kill(worker, SIGTERM);
            worker->kill_at = stop_term(supervisor, clock_now());
        } else if (worker->state != WORKER_DOWN) { /* one that is being replaced has no successor now */
            worker_end(worker);
            worker->kill_at = CLOCK_NEVER; /* the grace period is for all of them now */
            int status = control_send(worker->control, CONTROL_DRAIN, NULL, 0);
            if (status < 0 && status != -EPIPE && status != -ECONNRESET) { /* these: it is ending already */
                log_warning("worker %u cannot be told to stop: %s", worker->index, strerror(-status));
                worker_kill(worker, SIGKILL);
            }
        }
    }
}

void stop_now(struct supervisor *supervisor, const char *reason)
{
    log_warning("stopping now: %s; requests that still run are answered with server_error", reason);
    supervisor->kill_at = CLOCK_NEVER;
    supervisor->is_over_time = true;
    stop_kill_all(supervisor);
    remains_hurry(&supervisor->remains);
}
