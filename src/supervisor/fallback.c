/*
 * The fallback acceptor: the supervisor accepts connections itself while no worker is up, while all workers have as
 * many clients as they can hold, or while all have been busy for a tick, until the first makes progress. So health
 * checks are answered, and every client gets a reply in time. It looks at the first bytes without taking them
 * (MSG_PEEK), answers health checks, and passes requests, unread, to the workers through the queue (queue.c).
 *
 * How long a connection may wait here, and what follows:
 *
 *   has sent nothing, or a part   ASYA_READ_TIMEOUT, as with a worker: connection_error, in HTTP 408
 *   is kept alive, and idle       ASYA_KEEPALIVE_TIMEOUT: closed
 *   a request, no worker is up    as long as loading may take, or ASYA_READ_TIMEOUT if none loads: server_error
 *   a request, all are busy       without limit until a worker makes progress, as in the socket's backlog
 *   a request that cannot be      ASYA_READ_TIMEOUT: server_error. It is tried again all the time; meanwhile new
 *   passed to the workers         clients are left in the backlog, from which the workers accept
 *
 * When it is full, the oldest connection without a whole request gives way to a new one (server/room.h does the same in
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

#define FALLBACK_AFTER (100 * CLOCK_MS)     /* without a worker, before we begin to accept */
#define LOOK_INTERVAL  (20 * CLOCK_MS)      /* between looks at clients that have not sent a whole request */
#define LOOK_SPAN      (CLOCK_MS / 40)      /* longer by this for each of them: 2 % of a processor at most */
#define FULL_INTERVAL  (2 * CLOCK_MS)       /* before the next attempt when the queue was full */
#define SHORT_INTERVAL (50 * CLOCK_MS)      /* before accepting again when descriptors, memory or room were missing */
#define STUCK_AFTER    (1 * CLOCK_SECOND)   /* failures for this long mean that nothing can be passed to the workers */
#define SILENT_TIME    (250 * CLOCK_MS)     /* for a client to send something, when others need its place */
#define SLOW_TIME      (1 * CLOCK_SECOND)   /* for a request to arrive, likewise */
#define LOAD_TIMEOUT   (300 * CLOCK_SECOND) /* for loading while requests wait, without ASYA_STARTUP_TIMEOUT */

static bool is_anybody_ready(const struct supervisor *supervisor) { return state_count(supervisor, WORKER_READY) > 0; }

/* Asks the workers to report when they make progress (scoreboard.h). */
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

/* Call tick_look() before it: that looks whether a worker makes progress. */
static bool is_wanted(const struct supervisor *supervisor)
{
    return supervisor->all_busy || supervisor->alone_since != CLOCK_NEVER;
}

/* ---- handing on ------------------------------------------------------------------------------------------------- */

/* A full queue empties as soon as a worker makes progress. Other errors may last, such as ETOOMANYREFS: too many
 * descriptors of this user are in flight somewhere. */
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

/* A request that cannot be passed to a worker waits here already. New clients are better off in the backlog, from which
 * the workers accept. */
static bool is_stuck_with_request(const struct supervisor *supervisor)
{
    return is_handing_on_broken(supervisor) && is_anybody_ready(supervisor) && has_request(&supervisor->orphans);
}

/* ---- accepting -------------------------------------------------------------------------------------------------- */

/* Looks at what a client has sent. Returns whether that does not tell yet what it wants. The time for the request of a
 * kept connection begins with its first byte. */
static bool fallback_look(struct supervisor *supervisor, uint32_t index, uint64_t now)
{
    static const enum wants meaning[] = {
        [PEEK_SILENT] = WANTS_SILENT, [PEEK_PARTIAL] = WANTS_REST, [PEEK_HEALTH] = WANTS_HEALTH,
        [PEEK_ALIVE] = WANTS_ALIVE,   [PEEK_GONE] = WANTS_NOTHING, [PEEK_REQUEST] = WANTS_WORKER};
    struct orphans *orphans = &supervisor->orphans;
    enum wants *wants = &orphans->wants[index];
    bool was_idle = orphans_is_idle(orphans, index);
    if (*wants != WANTS_WORKER) {
        *wants = meaning[peek_at(orphans->fds[index], orphans->protocol, supervisor->options->max_message_size)];
    }
    if (was_idle && *wants != WANTS_SILENT) {
        orphans->since[index] = now;
    }
    return *wants == WANTS_SILENT || *wants == WANTS_REST;
}

/* The connection that gives way to a new one: the oldest that has sent nothing, or else the oldest whose request is
 * slow to arrive. orphans->count if there is none. */
static uint32_t fallback_find_incomplete(const struct supervisor *supervisor, uint64_t now)
{
    const struct orphans *orphans = &supervisor->orphans;
    uint32_t slow = orphans->count;
    for (uint32_t i = 0; i < orphans->count; i++) {
        if (orphans->wants[i] == WANTS_SILENT && clock_after(orphans->since[i], SILENT_TIME) <= now) {
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

/* Makes room for one more connection. Adds to `*sent_away` how many had to give way. */
static bool fallback_make_room(struct supervisor *supervisor, uint64_t now, uint32_t *sent_away)
{
    struct orphans *orphans = &supervisor->orphans;
    while (!orphans_have_room(orphans)) {
        uint32_t index = fallback_find_incomplete(supervisor, now);
        if (index == orphans->count || !listener_is_waiting(&supervisor->listener)) {
            return false;
        }
        if (fallback_look(supervisor, index, now)) {
            fallback_send_away(supervisor, index, now);
            ++*sent_away;
        }
    }
    return true;
}

/* A new connection. It is passed on before the next one is accepted, since only the attempt shows whether that works.
 */
static void take_on(struct supervisor *supervisor, uint32_t index, uint64_t now)
{
    if (fallback_look(supervisor, index, now)) {
        supervisor->fallback_looks_at = clock_earlier(supervisor->fallback_looks_at, clock_after(now, LOOK_INTERVAL));
    } else if (supervisor->orphans.wants[index] == WANTS_WORKER && is_anybody_ready(supervisor)) {
        (void)hand_on(supervisor, index, now);
    }
}

/* Returns 0, or when to accept again if descriptors or room are missing or nothing can be passed on: the listening
 * socket stays readable, and the loop would spin. */
static uint64_t accept_all(struct supervisor *supervisor, uint64_t now)
{
    uint64_t later = clock_after(now, SHORT_INTERVAL);
    uint32_t sent_away = 0;
    int connection = 0;
    while (!is_stuck_with_request(supervisor) && fallback_make_room(supervisor, now, &sent_away) &&
           (connection = listener_accept(&supervisor->listener)) >= 0) {
        (void)orphans_add(&supervisor->orphans, connection, false, now);
        take_on(supervisor, supervisor->orphans.count - 1, now);
    }
    if (sent_away > 0) {
        log_client(EVENT_CLIENT_REFUSED, "connection_error",
                   "%u connections without a whole request were closed to make room; %u wait for a worker", sent_away,
                   supervisor->orphans.count);
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
        fallback_close(supervisor); /* a worker will accept the client that woke us, which is quicker */
        return;
    }
    uint64_t now = clock_now();
    supervisor->fallback_opens_at = accept_all(supervisor, now);
    if (supervisor->fallback_opens_at > 0) {
        fallback_close(supervisor); /* the other clients wait in the backlog */
    }
}

/* ---- looking ---------------------------------------------------------------------------------------------------- */

/* Looks at all who wait: answers health checks, drops those who left, passes requests on. A new client is looked at
 * immediately, those without a whole request again every LOOK_INTERVAL. Returns when to call it again. */
static uint64_t fallback_look_at_all(struct supervisor *supervisor, uint64_t now)
{
    struct orphans *orphans = &supervisor->orphans;
    enum health health = state_is_ready(supervisor) ? HEALTH_READY : HEALTH_NOT_READY;
    bool has_room = is_anybody_ready(supervisor); /* the queue has taken everything in this round so far */
    bool patient =
        is_wanted(supervisor); /* keep silent clients: they may still ask for health, and no worker would take them */
    bool is_time = supervisor->fallback_looks_at <= now;
    uint32_t undecided = 0;
    uint64_t next = CLOCK_NEVER;
    for (uint32_t i = 0; i < orphans->count;) {
        if (is_time || orphans->wants[i] == WANTS_UNSEEN) {
            undecided += fallback_look(supervisor, i, now);
        }
        enum wants wants = orphans->wants[i];
        if (wants == WANTS_HEALTH || wants == WANTS_ALIVE || wants == WANTS_NOTHING) {
            if (wants == WANTS_NOTHING) {
                (void)hangup(&orphans->fds[i]);
            } else {
                recover_health(fd_take(&orphans->fds[i]), wants == WANTS_ALIVE ? HEALTH_ALIVE : health);
            }
            orphans_remove(orphans, i);
            continue;
        }
        if (has_room && (wants == WANTS_WORKER || !patient)) {
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

/* A worker is loading, or will be started at once. */
static bool is_anybody_loading(const struct supervisor *supervisor, uint64_t now)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_STARTING ||
            (worker->state == WORKER_DOWN && !worker->vacant && !worker->spare && worker->spawn_at <= now)) {
            return true;
        }
    }
    return false;
}

/* How long a request may wait for a worker. If one is loading: as long as that may take, which can be longer than
 * ASYA_READ_TIMEOUT. If none is (the delay in a crash loop), or if nothing can be passed to a worker:
 * ASYA_READ_TIMEOUT, since waiting longer would not help. */
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

/* The reply to a request that has waited that long. */
static void patience_error(const struct supervisor *supervisor, struct error *err)
{
    if (is_anybody_ready(supervisor)) {
        error_set(err, ERR_SERVER, 0, "the request could not be handed to a worker: %s",
                  strerror(-supervisor->hand_error));
    } else {
        crash_loop_error(supervisor, err);
    }
}

/* The client did not send the rest in time. */
static void dismiss_incomplete(struct supervisor *supervisor, uint32_t index)
{
    struct orphans *orphans = &supervisor->orphans;
    struct error err;
    error_set(&err, ERR_CONNECTION, 0,
              "the request was not complete within %llu ms (ASYA_READ_TIMEOUT); %zu bytes arrived",
              (unsigned long long)(supervisor->options->read_timeout / CLOCK_MS), peek_size(orphans->fds[index]));
    orphans_dismiss(orphans, index, 408, &err); /* RFC 9110, section 15.5.9 */
}

static uint64_t fallback_dismiss_overdue(struct supervisor *supervisor, uint64_t now)
{
    struct orphans *orphans = &supervisor->orphans;
    const struct options *options = supervisor->options;
    uint64_t waits = patience(supervisor, now);
    uint64_t next = CLOCK_NEVER;
    uint32_t requests = 0;
    uint32_t incomplete = 0;
    struct error err;
    for (uint32_t i = 0; i < orphans->count;) {
        bool is_request = orphans->wants[i] == WANTS_WORKER;
        bool is_idle = orphans_is_idle(orphans, i);
        uint64_t span = is_request ? waits : is_idle ? options->keepalive_timeout : options->read_timeout;
        uint64_t deadline = clock_after(orphans->since[i], span);
        if (deadline > now) {
            next = clock_earlier(next, deadline);
            i++;
        } else if (is_request) {
            patience_error(supervisor, &err);
            orphans_dismiss(orphans, i, 0, &err);
            requests++;
        } else {
            incomplete += !is_idle; /* the end of an idle connection is not worth a line */
            dismiss_incomplete(supervisor, i);
        }
    }
    if (requests > 0) {
        incidents_add_error(&supervisor->incidents, &err, "", "", INCIDENTS_NO_WORKER, "");
        log_client(EVENT_REQUEST_REFUSED, "server_error", "%s; %u waited", err.text, requests);
    }
    if (incomplete > 0) {
        log_client(EVENT_CLIENT_REFUSED, "connection_error",
                   "%u had not sent a whole request within %llu ms (ASYA_READ_TIMEOUT)", incomplete,
                   (unsigned long long)(options->read_timeout / CLOCK_MS));
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
    tick_look(supervisor); /* a worker may have made progress before set_awaited() asked it to report that */
    if (!is_wanted(supervisor)) {
        fallback_close(supervisor);
    }
    next = clock_earlier(next, fallback_look_at_all(supervisor, now));
    return clock_earlier(next, fallback_dismiss_overdue(supervisor, now));
}
