/* Replacing a worker that is still alive: after ASYA_MAX_REQUESTS, or beyond ASYA_MAX_RSS. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/control.h"
#include "supervisor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Tells it to accept no more, to finish, and to end; it has the grace period for that. */
static void retire(const struct supervisor *supervisor, struct worker *worker)
{
    worker_end(worker);
    worker->kill_at = clock_after(clock_now(), supervisor->options->grace_period);
    int status = control_send(worker->control, CONTROL_RETIRE, NULL, 0);
    if (status < 0 && status != -EPIPE && status != -ECONNRESET) { /* these: it is ending already */
        worker_kill(worker, SIGKILL);
    }
}

static struct worker *find_vacant(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        if (supervisor->workers[i].vacant && supervisor->workers[i].state == WORKER_DOWN) {
            return &supervisor->workers[i];
        }
    }
    return NULL;
}

/* With more than one worker: starts the successor in the vacant place, if that is free. */
static void begin(struct supervisor *supervisor, struct worker *worker)
{
    struct worker *fresh = find_vacant(supervisor);
    if (fresh == NULL) {
        return; /* one replacement at a time; replace_check tries again */
    }
    fresh->vacant = false;
    fresh->replaces = worker->index;
    fresh->spawn_at = clock_now();
    worker->vacant = true; /* once it is down, it stays down */
}

void replace_worker(struct supervisor *supervisor, struct worker *worker, const char *reason)
{
    if (worker->state != WORKER_READY || worker->due || supervisor->phase != PHASE_SERVING) {
        return;
    }
    log_info("worker %u, pid %d, is replaced: %s", worker->index, (int)worker->pid, reason);
    worker->due = true;
    if (supervisor->worker_count == 1) {
        retire(supervisor, worker);
    } else {
        begin(supervisor, worker);
    }
}

void replace_ready(struct supervisor *supervisor, struct worker *fresh)
{
    if (fresh->replaces == WORKER_NONE) {
        return;
    }
    struct worker *old = &supervisor->workers[fresh->replaces];
    fresh->replaces = WORKER_NONE;
    if (old->due && old->state == WORKER_READY) {
        retire(supervisor, old);
    }
}

/* Resident memory of a process in bytes, from /proc/PID/statm: size and resident set in pages. 0 if unknown. */
static uint64_t resident(pid_t pid)
{
    char path[64];
    char text[128];
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FD_SCOPED int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    text[got > 0 ? got : 0] = '\0';
    uint64_t pages = 0;
    const char *next = text;
    while (*next != '\0' && *next != ' ') {
        next++;
    }
    for (next += *next == ' '; *next >= '0' && *next <= '9'; next++) {
        pages = pages * 10 + (uint64_t)(*next - '0');
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void replace_check(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->state != WORKER_READY) {
            continue;
        }
        if (worker->due && !worker->vacant && supervisor->worker_count > 1) {
            begin(supervisor, worker);
        } else if (supervisor->max_rss > 0 && resident(worker->pid) > supervisor->max_rss) {
            char reason[128];
            (void)snprintf(reason, sizeof reason, "its memory exceeds %llu MiB (ASYA_MAX_RSS)",
                           (unsigned long long)(supervisor->max_rss >> 20));
            replace_worker(supervisor, worker, reason);
        }
    }
}
