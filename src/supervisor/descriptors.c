/*
 * Limits of descriptors (RLIMIT_NOFILE).
 *
 * The usual soft limit of 1,024 protects programs that call select(). The supervisor does not, so it raises its soft
 * limit to the hard limit. A worker runs the function, and the programs that it starts inherit its limit: it gets the
 * soft limit that the runtime was started with, plus what the runtime needs in a worker
 * (docs/decisions/0016-descriptors.md).
 *
 *   the supervisor   one for each connection of each worker (its fdstore entry) and each orphan, and its own
 *   a worker         three for each connection: the connection and both ends of its fdstore entry
 */
#include "base/limit.h"
#include "base/log.h"
#include "supervisor/state.h"

#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    /* Kept free from orphans and fdstore entries: the start of a worker takes FDSTORE_KEPT + 3 more than the end of the
     * last one gave back (and 4 for its output, if that is captured), a look at an fdstore entry takes one, and so does
     * each client of the control socket. */
    DESCRIPTORS_KEPT = FDSTORE_KEPT + DESK_CLIENTS + 8,
    DESCRIPTORS_OWN = 32,   /* standard streams, both sockets' files, the port, epoll, signals, the queue; rounded up */
    DESCRIPTORS_EACH = 3,   /* of the supervisor for each worker: control channel, fdholder, stacks */
    DESCRIPTORS_SCARCE = 64 /* if each worker can have fewer connections stored than this, warn */
};

/* Of the supervisor for each worker. */
static uint64_t descriptors_each(const struct supervisor *supervisor)
{
    return DESCRIPTORS_EACH + (supervisor->options->capture_output ? MARK_STREAMS : 0);
}

static uint64_t at_most(uint64_t value, uint64_t most) { return value < most ? value : most; }

/* What the runtime needs in a worker, besides what the function may use. The descriptors that a worker inherits may
 * have numbers as high as the supervisor's, and the kernel counts all descriptors in flight of a user against the limit
 * of the process that sends one. */
static uint64_t share_of_worker(const struct supervisor *supervisor)
{
    return 3 * SLOTS_MAX + DESCRIPTORS_OWN + ORPHANS_MAX +
           (uint64_t)supervisor->process_count * (SLOTS_MAX + descriptors_each(supervisor));
}

static uint64_t limit_of_worker(const struct supervisor *supervisor, uint64_t hard)
{
    return at_most(supervisor->inherited_numbers + share_of_worker(supervisor), hard);
}

/* How many connections of each worker can be stored at once. */
static uint64_t stored_each(const struct supervisor *supervisor, uint64_t hard)
{
    uint64_t places = supervisor->process_count;
    uint64_t taken = DESCRIPTORS_OWN + DESCRIPTORS_KEPT + places * descriptors_each(supervisor);
    uint64_t here = hard > taken ? (hard - taken) / places : 0;
    uint64_t limit = limit_of_worker(supervisor, hard);
    uint64_t there = limit > DESCRIPTORS_OWN ? (limit - DESCRIPTORS_OWN) / 3 : 0;
    return at_most(at_most(here, there), SLOTS_MAX);
}

uint64_t descriptors_needed(const struct supervisor *supervisor)
{
    uint64_t places = supervisor->options->workers + supervisor->options->spares + 1 + supervisor->options->preload;
    return DESCRIPTORS_OWN + DESCRIPTORS_KEPT + places * (DESCRIPTORS_EACH + FDSTORE_KEPT);
}

static void descriptors_tell(const struct supervisor *supervisor, uint64_t hard)
{
    uint64_t each = stored_each(supervisor, hard);
    if (each >= SLOTS_MAX) {
        return;
    }
    char line[256];
    (void)snprintf(line, sizeof line,
                   "the hard limit of descriptors (RLIMIT_NOFILE) is %llu: enough for about %llu connections of each "
                   "worker at once; further ones wait, or are lost if the function closes them",
                   (unsigned long long)hard, (unsigned long long)each);
    if (each < DESCRIPTORS_SCARCE) {
        log_warning(EVENT_SETTING_DERIVED, "%s", line);
    } else {
        log_info(EVENT_SETTING_DERIVED, "%s", line);
    }
}

void descriptors_raise(struct supervisor *supervisor)
{
    struct limit limit;
    if (!limit_get(RLIMIT_NOFILE, &limit)) { /* a sandbox that forbids it */
        long known = sysconf(_SC_OPEN_MAX);
        limit.soft = limit.hard = known > 0 ? (uint64_t)known : INT_MAX;
    }
    supervisor->inherited_numbers = limit.soft;
    struct limit raised = {.soft = limit.hard, .hard = limit.hard};
    uint64_t now = limit.soft < limit.hard && !limit_set(RLIMIT_NOFILE, &raised) ? limit.soft : limit.hard;
    uint64_t end = now > DESCRIPTORS_KEPT ? now - DESCRIPTORS_KEPT : 1;
    supervisor->numbers_end = supervisor->orphans.numbers_end = (int)at_most(end, INT_MAX);
    descriptors_tell(supervisor, now);
}

void descriptors_for_worker(const struct supervisor *supervisor)
{
    struct limit limit;
    if (!limit_get(RLIMIT_NOFILE, &limit)) {
        return;
    }
    uint64_t wanted = limit_of_worker(supervisor, limit.hard);
    if (wanted < limit.soft) {
        limit.soft = wanted;
        if (!limit_set(RLIMIT_NOFILE, &limit)) {
            log_debug(EVENT_SETTING_DERIVED, "the worker keeps the supervisor's limit of descriptors");
        }
    }
}
