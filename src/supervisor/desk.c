/*
 * The overflow desk: while no worker is up, or from when all have been busy for a tick until the first gets on, the
 * supervisor itself accepts, so that nobody waits in silence. It looks at the first bytes without taking them, answers
 * what needs no worker, and hands the rest, unread, to the queue all workers take from.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/glance.h"
#include "supervisor/state.h"

#include <errno.h>
#include <sys/epoll.h>

#define DESK_AFTER     (100 * CLOCK_MS)     /* without a worker, before the desk opens */
#define LOOK_INTERVAL  (20 * CLOCK_MS)      /* between looks at clients that have not said what they want */
#define FULL_INTERVAL  (2 * CLOCK_MS)       /* between attempts to hand on what the queue had no room for */
#define SHORT_INTERVAL (50 * CLOCK_MS)      /* before accepting is tried again without descriptors or memory */
#define LOAD_TIMEOUT   (300 * CLOCK_SECOND) /* for a worker to load while requests wait, without ASYA_STARTUP_TIMEOUT */

static bool is_anybody_ready(const struct supervisor *supervisor)
{
    return supervisor_count(supervisor, WORKER_READY) > 0;
}

/* The worker that gets on first is to say so. */
static void set_awaited(const struct supervisor *supervisor, uint32_t awaited)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        atomic_store_explicit(&supervisor->workers[i].page->awaited, awaited, memory_order_seq_cst);
    }
}

void desk_close(struct supervisor *supervisor)
{
    if (supervisor->desk_open) {
        supervisor->desk_open = false;
        set_awaited(supervisor, 0);
        (void)epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, supervisor->listener.fd, NULL);
    }
}

static void open_desk(struct supervisor *supervisor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &supervisor->listener};
    supervisor->desk_open = epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->listener.fd, &event) == 0;
    set_awaited(supervisor, supervisor->desk_open);
}

static bool is_wanted(struct supervisor *supervisor)
{
    tick_look(supervisor);
    return supervisor->all_busy || supervisor->alone_since != CLOCK_NEVER;
}

void desk_accept(struct supervisor *supervisor)
{
    if (!supervisor->desk_open) {
        return; /* closed earlier in this round of events */
    }
    if (!is_wanted(supervisor)) {
        desk_close(supervisor); /* a worker takes who has woken us: the way through here is longer */
        return;
    }
    while (orphans_have_room(&supervisor->orphans)) {
        int connection = listener_accept(&supervisor->listener);
        if (connection == -EAGAIN) {
            return;
        }
        if (connection < 0) { /* no descriptors: again in a while, or the loop would spin */
            supervisor->desk_opens_at = clock_after(clock_now(), SHORT_INTERVAL);
            break;
        }
        (void)orphans_add(&supervisor->orphans, connection, clock_now());
    }
    desk_close(supervisor); /* the others wait in the backlog */
}

static void crash_loop_error(const struct supervisor *supervisor, struct error *err)
{
    if (supervisor->deaths > 1) {
        error_set(err, ERR_SERVER, 0, "no worker is up: crash loop, %u deaths in a row, the last one %s",
                  supervisor->deaths, supervisor->last_death);
    } else if (supervisor->last_death[0] != '\0') {
        error_set(err, ERR_SERVER, 0, "no worker was ready in time; the last one %s", supervisor->last_death);
    } else {
        error_set(err, ERR_SERVER, 0, "no worker was ready in time");
    }
}

/* Looks at those who have not said what they want, and hands on whoever is for a worker. Returns when to look again. */
static uint64_t attend(struct supervisor *supervisor, uint64_t now)
{
    struct orphans *orphans = &supervisor->orphans;
    bool is_ready = is_anybody_ready(supervisor); /* what health says */
    bool has_room = is_ready;                     /* in the queue, as far as we have seen in this round */
    bool patient = supervisor->desk_open;         /* all are busy: who is silent may still ask for health */
    uint64_t next = CLOCK_NEVER;
    for (uint32_t i = 0; i < orphans->count;) {
        enum glance glance = orphans->judged[i] ? GLANCE_REQUEST : glance_at(orphans->fds[i], orphans->protocol);
        if (glance == GLANCE_HEALTH) {
            rescue_health(fd_take(&orphans->fds[i]), is_ready);
            orphans_remove(orphans, i);
            continue;
        }
        orphans->judged[i] = glance == GLANCE_REQUEST;
        if (has_room && (orphans->judged[i] || !patient)) {
            if (orphans_queue(orphans, i, supervisor->queue_send)) {
                continue;
            }
            next = clock_after(now, FULL_INTERVAL);
            has_room = false;
        }
        if (!orphans->judged[i]) {
            next = clock_earlier(next, clock_after(now, LOOK_INTERVAL));
        }
        i++;
    }
    return next;
}

/* A worker loads, or is about to. */
static bool is_anybody_loading(const struct supervisor *supervisor, uint64_t now)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_STARTING ||
            (worker->state == WORKER_DOWN && !worker->vacant && worker->spawn_at <= now)) {
            return true;
        }
    }
    return false;
}

/* How long a request waits for a worker. While one loads, its load decides, which may take longer than any request
 * takes to arrive. While none does (the back-off of a crash loop), waiting longer would not help. */
static uint64_t patience(const struct supervisor *supervisor, uint64_t now)
{
    const struct options *options = supervisor->options;
    uint64_t load = options->startup_timeout > 0 ? options->startup_timeout : LOAD_TIMEOUT;
    return load > options->read_timeout && is_anybody_loading(supervisor, now) ? load : options->read_timeout;
}

/* Without a worker: who has sent nothing has no more time for it than with one; a request has that of a load. */
static uint64_t expire(struct supervisor *supervisor, uint64_t now)
{
    struct orphans *orphans = &supervisor->orphans;
    if (orphans->count == 0 || is_anybody_ready(supervisor)) {
        return CLOCK_NEVER;
    }
    struct error err;
    crash_loop_error(supervisor, &err);
    uint64_t asked = patience(supervisor, now);
    uint64_t next = CLOCK_NEVER;
    uint32_t expired = 0;
    for (uint32_t i = 0; i < orphans->count;) {
        uint64_t deadline =
            clock_after(orphans->since[i], orphans->judged[i] ? asked : supervisor->options->read_timeout);
        if (deadline > now) {
            next = clock_earlier(next, deadline);
            i++;
            continue;
        }
        rescue_answer(orphans->fds[i], orphans->protocol, &err);
        orphans_remove(orphans, i);
        expired++;
    }
    if (expired > 0) {
        log_client("server_error", "%s; %u waited", err.text, expired);
    }
    return next;
}

uint64_t desk_hand_over(struct supervisor *supervisor, uint64_t now)
{
    while (supervisor->orphans.count > 0) {
        if (!orphans_queue(&supervisor->orphans, 0, supervisor->queue_send)) {
            return clock_after(now, FULL_INTERVAL);
        }
    }
    return CLOCK_NEVER;
}

uint64_t desk_tend(struct supervisor *supervisor, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    bool alone = supervisor->alone_since != CLOCK_NEVER;
    uint64_t opens = alone ? clock_after(supervisor->alone_since, DESK_AFTER) : now;
    opens = opens > supervisor->desk_opens_at ? opens : supervisor->desk_opens_at;
    if (!supervisor->desk_open && is_wanted(supervisor) && orphans_have_room(&supervisor->orphans)) {
        if (opens <= now) {
            open_desk(supervisor);
        } else {
            next = opens;
        }
    }
    if (!is_wanted(supervisor)) { /* also where a worker got on before it could see that this is awaited */
        desk_close(supervisor);
    }
    next = clock_earlier(next, attend(supervisor, now));
    return clock_earlier(next, expire(supervisor, now));
}
