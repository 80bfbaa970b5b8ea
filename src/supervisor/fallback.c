/*
 * The fallback acceptor: while no worker is up, while all are full of clients, or from when all have been busy for a
 * tick until the first gets on, the supervisor itself accepts, so that nobody waits in silence. It looks at the first
 * bytes without taking them, answers what needs no worker, and hands the rest, unread, to the queue all workers take
 * from.
 *
 * Whoever is here has a deadline:
 *
 *   has sent nothing, or a part   ASYA_READ_TIMEOUT, as with a worker: connection_error, in HTTP 408
 *   a request, no worker is up    as long as one may take to load, or ASYA_READ_TIMEOUT where none loads: server_error
 *   a request, all are busy       until one of them gets on, as in the backlog
 *   a request that cannot be      ASYA_READ_TIMEOUT: server_error. It is tried again all the time; but whoever comes
 *   handed on                     next is left in the backlog, where the workers accept
 *
 * When it is full the oldest that has sent no whole request gives way to whoever comes (server/room.h does the same in
 * a worker).
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/hangup.h"
#include "server/peek.h"
#include "supervisor/state.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#define FALLBACK_AFTER (100 * CLOCK_MS)     /* without a worker, before the fallback acceptor opens */
#define LOOK_INTERVAL  (20 * CLOCK_MS)      /* between looks at clients that have not said what they want */
#define LOOK_SPAN      (CLOCK_MS / 40)      /* and for each of them this longer: 2 % of a processor at most */
#define FULL_INTERVAL  (2 * CLOCK_MS)       /* between attempts to hand on what the queue had no room for */
#define SHORT_INTERVAL (50 * CLOCK_MS)      /* before accepting is tried again without descriptors, memory or room */
#define STUCK_AFTER    (1 * CLOCK_SECOND)   /* of failures to hand anything on, though a worker would take it */
#define SILENT_TIME    (250 * CLOCK_MS)     /* for a client to say something, once others need its place */
#define SLOW_TIME      (1 * CLOCK_SECOND)   /* for a request to arrive, likewise */
#define LOAD_TIMEOUT   (300 * CLOCK_SECOND) /* for a worker to load while requests wait, without ASYA_STARTUP_TIMEOUT */

static bool is_anybody_ready(const struct supervisor *supervisor) { return state_count(supervisor, WORKER_READY) > 0; }

/* The worker that gets on first is to say so. */
static void set_awaited(const struct supervisor *supervisor, uint32_t awaited)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        atomic_store_explicit(&supervisor->workers[i].board->awaited, awaited, memory_order_seq_cst);
    }
}

void fallback_close(struct supervisor *supervisor)
{
    if (supervisor->fallback_open) {
        supervisor->fallback_open = false;
        set_awaited(supervisor, 0);
        (void)epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, supervisor->listener.fd, NULL);
    }
}

static void fallback_open(struct supervisor *supervisor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &supervisor->listener};
    supervisor->fallback_open = epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->listener.fd, &event) == 0;
    set_awaited(supervisor, supervisor->fallback_open);
}

/* As far as was seen by tick_look(), which comes before. */
static bool is_wanted(const struct supervisor *supervisor)
{
    return supervisor->all_busy || supervisor->alone_since != CLOCK_NEVER;
}

/* ---- handing on ------------------------------------------------------------------------------------------------- */

/* A full queue empties as soon as a worker gets on. Anything else (ETOOMANYREFS: too many descriptors of this user are
 * in flight, wherever that may be) may last. */
static bool is_handing_on_broken(const struct supervisor *supervisor)
{
    return supervisor->hand_error != 0 && supervisor->hand_error != -EAGAIN;
}

static bool hand_on(struct supervisor *supervisor, uint32_t index, uint64_t now)
{
    int status = orphans_queue(&supervisor->orphans, index, supervisor->queue_send);
    if (status == -EPIPE && queue_renew(supervisor)) {
        status = orphans_queue(&supervisor->orphans, index, supervisor->queue_send);
    }
    bool is_stuck = status < 0 && !(status == -EAGAIN && supervisor->all_busy);
    if (is_stuck && supervisor->hand_error == 0) {
        supervisor->stuck_since = now;
    }
    supervisor->hand_error = is_stuck ? status : 0;
    return status == 0;
}

static bool has_request(const struct orphans *orphans)
{
    for (uint32_t i = 0; i < orphans->count; i++) {
        if (orphans->wants[i] == WANTS_WORKER) {
            return true;
        }
    }
    return false;
}

/* One who cannot be handed on is here already: those in the backlog are better off, workers accept from there. */
static bool is_stopped_up(const struct supervisor *supervisor)
{
    return is_handing_on_broken(supervisor) && is_anybody_ready(supervisor) && has_request(&supervisor->orphans);
}

/* ---- accepting -------------------------------------------------------------------------------------------------- */

/* Looks again at what one has sent. Returns whether that still does not tell what it wants. */
static bool fallback_look(struct supervisor *supervisor, uint32_t index)
{
    static const enum wants meaning[] = {[PEEK_SILENT] = WANTS_SILENT,
                                         [PEEK_PARTIAL] = WANTS_REST,
                                         [PEEK_HEALTH] = WANTS_HEALTH,
                                         [PEEK_GONE] = WANTS_NOTHING,
                                         [PEEK_REQUEST] = WANTS_WORKER};
    struct orphans *orphans = &supervisor->orphans;
    enum wants *wants = &orphans->wants[index];
    if (*wants != WANTS_WORKER) {
        *wants = meaning[peek_at(orphans->fds[index], orphans->protocol, supervisor->options->max_message_size)];
    }
    return *wants == WANTS_SILENT || *wants == WANTS_REST;
}

/* Who gives way to others now: the oldest that is silent, or else the oldest whose request is slow to arrive. The
 * number of all if nobody does. */
static uint32_t fallback_find_in_the_way(const struct supervisor *supervisor, uint64_t now)
{
    const struct orphans *orphans = &supervisor->orphans;
    uint32_t slow = orphans->count;
    for (uint32_t i = 0; i < orphans->count && clock_after(orphans->since[i], SILENT_TIME) <= now; i++) {
        if (orphans->wants[i] == WANTS_SILENT) {
            return i;
        }
        if (slow == orphans->count && orphans->wants[i] == WANTS_REST &&
            clock_after(orphans->since[i], SLOW_TIME) <= now) {
            slow = i;
        }
    }
    return slow;
}

static void fallback_send_away(struct supervisor *supervisor, uint32_t index, uint64_t now)
{
    struct orphans *orphans = &supervisor->orphans;
    struct error err;
    error_set(&err, ERR_CONNECTION, 0,
              "the request was not complete after %llu ms, and others need its place: so many clients are connected "
              "that the oldest incomplete one gives way; %zu bytes arrived",
              (unsigned long long)((now - orphans->since[index]) / CLOCK_MS), peek_size(orphans->fds[index]));
    orphans_dismiss(orphans, index, 408, &err);
}

/* Adds to `*sent_away` how many had to give way. */
static bool fallback_make_room(struct supervisor *supervisor, uint64_t now, uint32_t *sent_away)
{
    struct orphans *orphans = &supervisor->orphans;
    while (!orphans_have_room(orphans)) {
        uint32_t index = fallback_find_in_the_way(supervisor, now);
        if (index == orphans->count || !listener_is_waiting(&supervisor->listener)) {
            return false;
        }
        if (fallback_look(supervisor, index)) {
            fallback_send_away(supervisor, index, now);
            ++*sent_away;
        }
    }
    return true;
}

/* One that has just come. It is handed on before the next is accepted: whether that can be done tells only the attempt.
 */
static void take_on(struct supervisor *supervisor, uint32_t index, uint64_t now)
{
    if (fallback_look(supervisor, index)) {
        supervisor->fallback_looks_at = clock_earlier(supervisor->fallback_looks_at, clock_after(now, LOOK_INTERVAL));
    } else if (supervisor->orphans.wants[index] == WANTS_WORKER && is_anybody_ready(supervisor)) {
        (void)hand_on(supervisor, index, now);
    }
}

/* Returns 0, or when to accept again: without descriptors, room or a way to hand on the loop would spin. */
static uint64_t accept_all(struct supervisor *supervisor, uint64_t now)
{
    uint64_t later = clock_after(now, SHORT_INTERVAL);
    uint32_t sent_away = 0;
    int connection = 0;
    while (!is_stopped_up(supervisor) && fallback_make_room(supervisor, now, &sent_away) &&
           (connection = listener_accept(&supervisor->listener)) >= 0) {
        (void)orphans_add(&supervisor->orphans, connection, false, now);
        take_on(supervisor, supervisor->orphans.count - 1, now);
    }
    if (sent_away > 0) {
        log_client("connection_error", "%u that had not sent a whole request gave way to others; %u wait for a worker",
                   sent_away, supervisor->orphans.count);
    }
    return connection == -EAGAIN ? 0 : later;
}

void fallback_accept(struct supervisor *supervisor)
{
    if (!supervisor->fallback_open) {
        return; /* closed earlier in this round of events */
    }
    tick_look(supervisor);
    if (!is_wanted(supervisor)) {
        fallback_close(supervisor); /* a worker takes who has woken us: the way through here is longer */
        return;
    }
    uint64_t now = clock_now();
    supervisor->fallback_opens_at = accept_all(supervisor, now);
    if (supervisor->fallback_opens_at > 0) {
        fallback_close(supervisor); /* the others wait in the backlog */
    }
}

/* ---- looking ---------------------------------------------------------------------------------------------------- */

/* Looks at those who have not said what they want, each at once when it has come, and hands on whoever is for a worker.
 * Returns when to look again. */
static uint64_t fallback_attend(struct supervisor *supervisor, uint64_t now)
{
    struct orphans *orphans = &supervisor->orphans;
    bool is_ready = state_is_serving(supervisor); /* what health says */
    bool has_room = is_anybody_ready(supervisor); /* in the queue, as far as we have seen in this round */
    bool patient = is_wanted(supervisor);         /* nobody takes the silent ones, who may still ask for health */
    bool is_time = supervisor->fallback_looks_at <= now;
    uint32_t undecided = 0;
    uint64_t next = CLOCK_NEVER;
    for (uint32_t i = 0; i < orphans->count;) {
        if (is_time || orphans->wants[i] == WANTS_UNSEEN) {
            undecided += fallback_look(supervisor, i);
        }
        if (orphans->wants[i] == WANTS_HEALTH || orphans->wants[i] == WANTS_NOTHING) {
            if (orphans->wants[i] == WANTS_HEALTH) {
                recover_health(fd_take(&orphans->fds[i]), is_ready);
            } else {
                (void)hangup(&orphans->fds[i]);
            }
            orphans_remove(orphans, i);
            continue;
        }
        if (has_room && (orphans->wants[i] == WANTS_WORKER || !patient)) {
            if (hand_on(supervisor, i, now)) {
                continue;
            }
            next = clock_after(now, FULL_INTERVAL);
            has_room = false;
        }
        i++;
    }
    if (is_time || undecided > 0) {
        uint64_t span = undecided > 0 ? LOOK_INTERVAL + undecided * LOOK_SPAN : CLOCK_NEVER;
        uint64_t at = clock_after(now, span);
        supervisor->fallback_looks_at = is_time ? at : clock_earlier(supervisor->fallback_looks_at, at);
    }
    return clock_earlier(next, supervisor->fallback_looks_at);
}

/* ---- deadlines -------------------------------------------------------------------------------------------------- */

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
 * takes to arrive. While none does (the back-off of a crash loop), waiting longer would not help, nor does it where a
 * worker would take it and it cannot be handed on. */
static uint64_t patience(const struct supervisor *supervisor, uint64_t now)
{
    const struct options *options = supervisor->options;
    if (is_anybody_ready(supervisor)) {
        bool is_stuck = supervisor->hand_error != 0 && clock_after(supervisor->stuck_since, STUCK_AFTER) <= now;
        return is_stuck ? options->read_timeout : CLOCK_NEVER;
    }
    uint64_t load = options->startup_timeout > 0 ? options->startup_timeout : LOAD_TIMEOUT;
    return load > options->read_timeout && is_anybody_loading(supervisor, now) ? load : options->read_timeout;
}

/* What a request is told whose patience is over. */
static void patience_error(const struct supervisor *supervisor, struct error *err)
{
    if (is_anybody_ready(supervisor)) {
        error_set(err, ERR_SERVER, 0, "the request could not be handed to a worker: %s",
                  strerror(-supervisor->hand_error));
    } else {
        crash_loop_error(supervisor, err);
    }
}

/* Its client had its time to send the rest. */
static void dismiss_incomplete(struct supervisor *supervisor, uint32_t index)
{
    struct orphans *orphans = &supervisor->orphans;
    struct error err;
    error_set(&err, ERR_CONNECTION, 0,
              "the request was not complete within %llu ms (ASYA_READ_TIMEOUT); %zu bytes arrived",
              (unsigned long long)(supervisor->options->read_timeout / CLOCK_MS), peek_size(orphans->fds[index]));
    orphans_dismiss(orphans, index, 408, &err); /* RFC 9110, section 15.5.9 */
}

static uint64_t fallback_expire(struct supervisor *supervisor, uint64_t now)
{
    struct orphans *orphans = &supervisor->orphans;
    uint64_t read_timeout = supervisor->options->read_timeout;
    uint64_t waits = patience(supervisor, now);
    uint64_t next = CLOCK_NEVER;
    uint32_t requests = 0;
    uint32_t incomplete = 0;
    struct error err;
    for (uint32_t i = 0; i < orphans->count;) {
        bool is_request = orphans->wants[i] == WANTS_WORKER;
        uint64_t deadline = clock_after(orphans->since[i], is_request ? waits : read_timeout);
        if (deadline > now) {
            next = clock_earlier(next, deadline);
            i++;
        } else if (is_request) {
            patience_error(supervisor, &err);
            orphans_dismiss(orphans, i, 0, &err);
            requests++;
        } else {
            incomplete += !orphans->kept[i] || orphans->wants[i] != WANTS_SILENT; /* else it has only been idle */
            dismiss_incomplete(supervisor, i);
        }
    }
    if (requests > 0) {
        log_client("server_error", "%s; %u waited", err.text, requests);
    }
    if (incomplete > 0) {
        log_client("connection_error", "%u had not sent a whole request within %llu ms (ASYA_READ_TIMEOUT)", incomplete,
                   (unsigned long long)(read_timeout / CLOCK_MS));
    }
    return next;
}

uint64_t fallback_hand_over(struct supervisor *supervisor, uint64_t now)
{
    while (supervisor->orphans.count > 0) {
        if (!hand_on(supervisor, 0, now)) {
            return clock_after(now, FULL_INTERVAL);
        }
    }
    return CLOCK_NEVER;
}

uint64_t fallback_tend(struct supervisor *supervisor, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    bool alone = supervisor->alone_since != CLOCK_NEVER;
    uint64_t opens = alone ? clock_after(supervisor->alone_since, FALLBACK_AFTER) : now;
    opens = opens > supervisor->fallback_opens_at ? opens : supervisor->fallback_opens_at;
    tick_look(supervisor);
    if (!supervisor->fallback_open && is_wanted(supervisor)) {
        if (opens <= now) {
            fallback_open(supervisor);
        } else {
            next = opens;
        }
    }
    tick_look(supervisor); /* a worker may have got on before it could see that this is awaited */
    if (!is_wanted(supervisor)) {
        fallback_close(supervisor);
    }
    next = clock_earlier(next, fallback_attend(supervisor, now));
    return clock_earlier(next, fallback_expire(supervisor, now));
}
