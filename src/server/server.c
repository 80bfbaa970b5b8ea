/*
 * A worker's loop. server_turn() waits in epoll, handles what it reports, then acts on deadlines. The epoll set has the
 * control channel, the eventfd of server_wake(), the connections that wait for their clients, and, while the worker
 * accepts, the listener and the queue (EPOLLEXCLUSIVE, so that not all workers wake for one connection).
 *
 * Whether it accepts is decided in server_may_accept() and server_resume(). It does not while it is
 *
 *   busy      the service has no capacity, and there are other workers: until a request ends
 *   awaiting  a request has arrived in part: until its rest has, at most REST_OF_REQUEST
 *   short     no slot, descriptor or memory, or the listener was shut down: tried again after PAUSE_ON_SHORTAGE. The
 *             scoreboard says FULL_FOR_NOW, so that the supervisor accepts in the meantime
 *   starved   short of descriptors for STARVED_AFTER because of the function: FULL_STARVED; asks to be replaced
 *   waiting   it is loaded, and nobody has told it to serve yet (CONTROL_SERVE): a spare
 *   retiring  the next worker is ready, or the scoreboard was overwritten: for good; ends once what has begun is done
 *
 * When the runtime stops the worker drains: it goes on accepting until listener and queue are empty, answers all that
 * arrives, dismisses silent clients, and ends when it holds no connection any more.
 */
#include "server/server.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/conn.h"
#include "server/control.h"
#include "server/dispatch.h"
#include "server/peer.h"
#include "server/room.h"
#include "server/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 64,
    ACCEPT_BATCH = 16, /* connections accepted in a row, before other events are handled */
    SLOTS_STEP = 32,   /* fdstore entries that are made at once when there are too few */
};

#define PAUSE_ON_SHORTAGE (50 * CLOCK_MS) /* before accepting again, if slots, descriptors or memory ran out */
#define STARVED_AFTER                                                                                                  \
    (1 * CLOCK_SECOND) /* without descriptors because of the function, before it asks to be replaced */
#define TRIM_AFTER      (500 * CLOCK_MS) /* idle, before extra fdstore entries are closed */
#define REST_OF_REQUEST (25 * CLOCK_MS)  /* to wait for the rest of a request that has begun to arrive */
#define SILENT_LINGER   (250 * CLOCK_MS) /* when stopping: time for a silent client to begin a request */

struct server {
    const struct server_config *config;
    struct conn_host host;
    struct file_identity listener;
    const struct conn *awaited; /* its request has arrived in part; until resume_at, or its rest, we do not accept */
    struct conn *fresh;         /* accepted, but not read yet; or NULL */
    uint64_t grow_at;           /* no new fdstore entries before; 0: making them worked last time */
    uint64_t trim_at;           /* when extra fdstore entries are closed; CLOCK_NEVER while busy */
    uint64_t resume_at;         /* when to accept again; CLOCK_NEVER while accepting or busy */
    uint64_t starving_since;    /* since when the function leaves no descriptor for connections; CLOCK_NEVER */
    uint64_t dismiss_at;        /* when silent clients are dismissed; CLOCK_NEVER unless draining */
    uint64_t deadline;          /* when the next turn is due without an event */
    struct spare spare;         /* RLIMIT_NOFILE at the start */
    uint64_t descriptors_begun; /* how many descriptors were open then */
    enum fullness full;         /* what the scoreboard says */
    uint32_t taken;             /* connections taken by the last server_take_batch() */
    int wake;                   /* an eventfd */
    bool accepting;             /* listener and queue are in the epoll set */
    bool has_queue;             /* the queue of connections that are handed on can be used */
    bool shortage_logged;
    bool starved; /* STARVED_AFTER has passed, and the supervisor was told */
    bool asked_to_retire;
    bool overwritten; /* the function has written over the scoreboard */
    bool waits;       /* for CONTROL_SERVE; it holds no connection until then */
    bool stopped;
    bool left; /* this is the copy in a forked child */
};

/* What epoll_data points to for descriptors that are not connections. */
static char listener_tag;
static char queue_tag;
static char control_tag;
static char wake_tag;

static void server_set_accepting(struct server *server, bool accepting)
{
    if (server->accepting == accepting || server->waits) {
        return;
    }
    server->accepting = accepting;
    int epoll = server->host.epoll;
    int queue = server->config->queue;
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &listener_tag};
    struct epoll_event queued = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &queue_tag};
    if (accepting && (!server->has_queue || epoll_ctl(epoll, EPOLL_CTL_ADD, queue, &queued) == 0) &&
        epoll_ctl(epoll, EPOLL_CTL_ADD, server->config->listener, &event) == 0) {
        return;
    }
    if (accepting) { /* both or none, so that a handed-on connection waits no longer than an accepted one */
        tampered_check(&server->host.tampered, errno);
        log_error(EVENT_CONNECTION_TROUBLE, "server_error: cannot watch the listening socket: %s", strerror(errno));
        server->accepting = false;
        server->resume_at = clock_after(clock_now(), PAUSE_ON_SHORTAGE);
    }
    if (server->has_queue) {
        (void)epoll_ctl(epoll, EPOLL_CTL_DEL, queue, NULL);
    }
    (void)epoll_ctl(epoll, EPOLL_CTL_DEL, server->config->listener, NULL);
}

/* Logs a shortage of descriptors or memory. Only the first one, since it may last and come back often. */
static void server_log_once(struct server *server, const char *what, int error)
{
    if (!server->shortage_logged) {
        server->shortage_logged = true;
        log_warning(EVENT_CONNECTION_TROUBLE, "%s: %s", what, strerror(error));
    }
}

static bool server_is_retiring(const struct server *server) { return server->host.stage == STAGE_RETIRING; }

static bool server_is_draining(const struct server *server) { return server->host.stage == STAGE_DRAINING; }

/* A slot is free for one more connection. */
static bool server_has_place(const struct conn_host *host)
{
    return host->count < SLOTS_MAX && slots_have_room(&host->slots);
}

/* The service has no capacity, and another worker could take new connections. A worker that is alone accepts anyway: it
 * answers /healthz at once and lets only requests for the function wait. */
static bool server_is_busy(const struct server *server)
{
    return !conn_host_has_capacity(&server->host) && !server->config->alone;
}

/* Notes on the scoreboard whether the supervisor should accept in place of this worker, and why. */
static void server_set_full(struct server *server, enum fullness full)
{
    struct scoreboard *board = server->config->board;
    if (server->full == full) {
        return;
    }
    server->full = full;
    if (board == NULL) {
        return;
    }
    atomic_store_explicit(&board->full, full, memory_order_seq_cst);
    if (full != FULL_NOT && server->config->control >= 0) {
        (void)control_send(server->config->control, CONTROL_WATCH, NULL, 0); /* a full channel wakes it too */
    }
}

/* Notes the numbers of the fdstore's entries from `first` on. */
static void server_note_entries(struct server *server, uint32_t first, bool held)
{
    const struct fdstore *fdstore = server->config->fdstore;
    for (uint32_t i = first; fdstore != NULL && i < fdstore->count; i++) {
        numbers_note(&server->host.numbers, fdstore->send[i], held);
        numbers_note(&server->host.numbers, fdstore->receive[i], held);
    }
}

/* More connections than fdstore entries: makes more entries and sends their receiving ends to the supervisor. If that
 * fails, the descriptors are better used for connections, which are then not stored. */
static void server_grow_slots(struct server *server)
{
    struct fdstore *fdstore = server->config->fdstore;
    struct conn_host *host = &server->host;
    if (server->config->control < 0 || !slots_are_short(&host->slots) || server->grow_at > clock_now()) {
        return;
    }
    uint32_t before = fdstore->count;
    int status = fdstore_grow(fdstore, SLOTS_STEP);
    if (status == 0) {
        status =
            control_send(server->config->control, CONTROL_SLOTS, fdstore->receive + before, fdstore->count - before);
    }
    server->grow_at = 0;
    server_note_entries(server, before, status == 0);
    if (status < 0) {
        tampered_check(&host->tampered, -status);
        fdstore_trim(fdstore, before);
        server->grow_at = clock_after(clock_now(), PAUSE_ON_SHORTAGE);
        server_log_once(server, "cannot make more fdstore entries: connections may be lost if this worker dies",
                        -status);
    }
}

/* Closes the extra fdstore entries when the worker has been idle for a while. Returns when to call it again. */
static uint64_t server_trim_slots(struct server *server, uint64_t now)
{
    struct fdstore *fdstore = server->config->fdstore;
    struct conn_host *host = &server->host;
    if (fdstore == NULL || fdstore->count <= FDSTORE_KEPT || host->count > 0) {
        server->trim_at = CLOCK_NEVER;
        return CLOCK_NEVER;
    }
    if (server->trim_at == CLOCK_NEVER) {
        server->trim_at = clock_after(now, TRIM_AFTER);
    }
    if (server->trim_at > now) {
        return server->trim_at;
    }
    server->trim_at = CLOCK_NEVER;
    if (control_send(server->config->control, CONTROL_TRIM, NULL, 0) == 0) {
        server_note_entries(server, FDSTORE_KEPT, false);
        fdstore_trim(fdstore, FDSTORE_KEPT);
        slots_reset(&host->slots);
    }
    return CLOCK_NEVER;
}

/* Whether the function holds most of the descriptors that there were for connections, or has lowered RLIMIT_NOFILE. */
static bool server_has_taken_descriptors(const struct server *server)
{
    const struct fdstore *fdstore = server->config->fdstore;
    uint64_t slots = fdstore != NULL && fdstore->count > FDSTORE_KEPT ? fdstore->count - FDSTORE_KEPT : 0;
    uint64_t own = server->host.count + 2 * slots;
    return sysconf(_SC_OPEN_MAX) < (long)server->spare.limit ||
           server->descriptors_begun + 2 * own < server->spare.limit;
}

/* There is no descriptor for a new connection, and none gives way. If that is the function's doing and lasts, the
 * worker asks to be replaced: nothing else gives back what the function holds. */
static void server_note_starving(struct server *server, int error)
{
    uint64_t now = clock_now();
    if (error != EMFILE || !server_has_taken_descriptors(server)) {
        server->starving_since = CLOCK_NEVER;
    } else if (server->starving_since == CLOCK_NEVER) {
        server->starving_since = now;
    } else if (!server->starved && now - server->starving_since >= STARVED_AFTER && server->config->control >= 0) {
        server_set_full(server, FULL_STARVED); /* before the message, since its receiver looks at the scoreboard */
        server->starved = control_send(server->config->control, CONTROL_STARVED, NULL, 0) == 0;
    }
}

/* No slot, descriptor or memory for one more connection: new clients wait in the backlog for a while, unless the
 * supervisor accepts them. `error` is 0 if slots ran out, EPIPE if the listening socket was shut down. */
static void server_pause_accepting(struct server *server, int error)
{
    if (error != 0 && error != EPIPE) { /* the supervisor logs a shutdown */
        server_log_once(server, "accepting pauses", error);
    }
    server_set_accepting(server, false);
    server_note_starving(server, error);
    server_set_full(server, server->starved ? FULL_STARVED : FULL_FOR_NOW);
    server->resume_at = clock_after(clock_now(), PAUSE_ON_SHORTAGE);
}

static bool server_make_place(struct server *server)
{
    const struct conn_host *host = &server->host;
    struct conn *conn;
    if (!server_has_place(host) && (conn = room_find(host, clock_now())) != NULL) {
        dispatch_vacate(conn);
    }
    return server_has_place(host);
}

enum accepted { ACCEPTED, ACCEPT_EMPTY, ACCEPT_PAUSED };

/* The connection that gives way so that a new one is possible in spite of `error`, or NULL. If the function has lowered
 * the limit, closing a descriptor with a number above the limit does not help. */
static struct conn *server_find_in_the_way(const struct server *server, int error)
{
    struct conn *conn = room_find(&server->host, clock_now());
    return conn != NULL && error == EMFILE && conn->fd >= sysconf(_SC_OPEN_MAX) ? NULL : conn;
}

/* Whether the function has shut down a socket that all workers share. epoll reports such a socket as readable all the
 * time although no connection is there, until the supervisor has made a new one. */
static bool server_is_shut(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) == 1 && (look.revents & (POLLRDHUP | POLLHUP)) != 0;
}

/* Whether a connection waits on `fd`. Assumed to be so if poll() fails because the function has lowered
 * RLIMIT_NOFILE. */
static bool server_is_waiting(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    return poll(&look, 1, 0) != 0 && !server_is_shut(fd);
}

/* Descriptors or memory ran out. The kernel says so before it checks whether a connection waits on `fd` at all. */
static enum accepted server_give_way(struct server *server, int fd, int error)
{
    if (!server_is_waiting(fd)) {
        return ACCEPT_EMPTY;
    }
    struct conn *conn = server_find_in_the_way(server, error);
    if (conn != NULL) {
        dispatch_vacate(conn);
        return ACCEPTED; /* none yet: the caller tries again */
    }
    server_pause_accepting(server, error);
    return ACCEPT_PAUSED;
}

static void server_take_in(struct server *server, int fd, bool kept)
{
    if (fd_raise(&fd) < 0) { /* no number above is free, and the function has closed a standard one */
        dispatch_turn_away(&server->host, fd, kept);
        fd_plug_standard();
        return;
    }
    server->fresh = dispatch_accept(&server->host, fd, kept);
}

/* Whether the function has closed the listening socket, or put another file at its number. */
static bool server_is_listener_gone(const struct server *server)
{
    struct file_identity found;
    return fd_stat(server->config->listener, &found) < 0 || !file_identity_equal(&found, &server->listener);
}

static enum accepted server_cannot_accept(struct server *server, int error)
{
    if (server_is_listener_gone(server)) {
        tampered_end(&server->host.tampered);
    }
    return server_give_way(server, server->config->listener, error);
}

static enum accepted server_accept_one(struct server *server)
{
    server_grow_slots(server);
    int fd = accept4(server->config->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        server->starving_since = CLOCK_NEVER;
        if (peer_admit(&fd, server->config->allowed_uids)) {
            server_take_in(server, fd, false);
        }
        return ACCEPTED;
    }
    switch (errno) {
    case EINTR:
    case ECONNABORTED:
        return ACCEPTED;
    case EAGAIN:
        return ACCEPT_EMPTY;
    default:
        return server_cannot_accept(server, errno);
    }
}

/* Receives a message from the queue, as control_receive() does. */
static int server_receive_handed_on(const struct server *server, int spare, struct control_message *message, int *fds)
{
    uint64_t before = spare_lend(&server->spare, spare);
    int status = control_receive(server->config->queue, message, fds);
    spare_take_back(before);
    return status;
}

/* Takes a connection from the queue of those that the supervisor hands on. */
static enum accepted server_take_one(struct server *server)
{
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    server_grow_slots(server);
    if (!server->has_queue) {
        return ACCEPT_EMPTY;
    }
    int spare = spare_find();
    if (spare < 0) {
        return server_give_way(server, server->config->queue, -spare);
    }
    int status = server_receive_handed_on(server, spare, &message, fds);
    tampered_check_read(&server->host.tampered, -status);
    if (status <= 0) {
        return status == -EPROTO ? ACCEPTED : ACCEPT_EMPTY; /* EPROTO: the function wrote to it */
    }
    uint32_t used = 0;
    bool kept = message.type == CONTROL_KEPT_ALIVE;
    if ((kept || message.type == CONTROL_CONNECTION) && message.count == 1 && fds[0] >= 0) {
        server_take_in(server, fds[used++], kept);
    }
    for (; used < message.count; used++) {
        fd_close(&fds[used]);
    }
    return ACCEPTED;
}

static void server_retire(struct server *server)
{
    server->host.stage = server_is_draining(server) ? STAGE_DRAINING : STAGE_RETIRING;
    server_set_accepting(server, false);
}

/* Notices that the function has written over the scoreboard. The supervisor will end this process for that; until then
 * the worker takes no more connections. */
static void server_look_at_board(struct server *server)
{
    const struct scoreboard *board = server->config->board;
    if (board == NULL || server_is_retiring(server) || scoreboard_is_intact(board)) {
        return;
    }
    server->overwritten = true;
    server_retire(server);
    if (server->config->control >= 0) {
        (void)control_send(server->config->control, CONTROL_WATCH, NULL, 0); /* else it looks within a second */
    }
}

/* After ASYA_MAX_REQUESTS the worker asks to be replaced, and goes on serving until its successor is ready. Not when
 * the runtime stops: then there is no successor. */
static void server_count_requests(struct server *server)
{
    const struct server_config *config = server->config;
    if (config->max_requests == 0 || server->asked_to_retire || server_is_draining(server) ||
        server->host.sequence < config->max_requests) {
        return;
    }
    server->asked_to_retire = control_send(config->control, CONTROL_RETIRE, NULL, 0) == 0;
}

static bool server_is_partial(const struct conn *conn)
{
    return conn->fd >= 0 && conn->state == CONN_READING && conn->seen > 0;
}

/* A request that was read in part can be served only by this worker. If the worker took another request now, that could
 * keep it busy for minutes while the first client waits. So where other workers exist, new connections are left to them
 * until the rest has arrived or REST_OF_REQUEST is over. Only for one request at a time: otherwise many slow clients
 * would keep this worker from accepting at all. */
static bool server_await_rest(struct server *server, const struct conn *partial)
{
    if (server->config->alone || server->config->concurrency > 1) {
        return false;
    }
    const struct conn *conn = server->host.lists[CONN_READING].first;
    for (; conn != NULL; conn = conn->next) {
        if (conn != partial && server_is_partial(conn)) {
            return false;
        }
    }
    server->awaited = partial;
    server_set_accepting(server, false);
    server->resume_at = clock_after(clock_now(), REST_OF_REQUEST);
    return true;
}

/* Serves the connection that was just accepted. False if the others are left to other workers for a while. */
static bool server_begin(struct server *server)
{
    struct conn *conn = server->fresh;
    server->fresh = NULL;
    if (conn == NULL || (server_is_retiring(server) && slot_is_stored(&server->host.slots, conn->slot))) {
        return true; /* A stored one stays unread, for the next worker. Otherwise it would be lost, so it is served. */
    }
    dispatch_begin(conn);
    server_count_requests(server);
    return !(server_is_partial(conn) && server_await_rest(server, conn));
}

/* Whether one more connection may be accepted now. If not: ACCEPT_EMPTY if none waits on `fd`, else ACCEPT_PAUSED. */
static enum accepted server_may_accept(struct server *server, int fd)
{
    server_look_at_board(server);
    if (server_is_busy(server) || server_is_retiring(server)) {
        server_set_accepting(server, false); /* until a request ends */
        return ACCEPT_PAUSED;
    }
    if (server_has_place(&server->host)) {
        return ACCEPTED;
    }
    if (!server_is_waiting(fd)) {
        return ACCEPT_EMPTY; /* no connection needs to give way if none waits */
    }
    if (!server_make_place(server)) {
        server_pause_accepting(server, 0);
        return ACCEPT_PAUSED;
    }
    return ACCEPTED;
}

/* Takes connections from the backlog or the queue and serves them. True if it has taken all that were there. */
static bool server_take_batch(struct server *server, enum accepted (*take)(struct server *server))
{
    int fd = take == server_take_one ? server->config->queue : server->config->listener;
    for (server->taken = 0; server->taken < ACCEPT_BATCH; server->taken++) {
        enum accepted accepted = server_may_accept(server, fd);
        if (accepted == ACCEPTED) {
            accepted = take(server);
        }
        if (accepted != ACCEPTED) {
            return accepted == ACCEPT_EMPTY;
        }
        if (!server_begin(server)) {
            return false;
        }
    }
    return false;
}

/* The listener's file was removed or the listener was shut down, and `fd` replaces it. No client can connect to the old
 * one any more; those in its backlog are still served. */
static void server_replace_listener(struct server *server, int fd)
{
    while (!server->waits && server_has_place(&server->host) && server_accept_one(server) == ACCEPTED) {
        (void)server_begin(server);
    }
    server_set_accepting(server, false);
    if (dup3(fd, server->config->listener, O_CLOEXEC) < 0 || fd_stat(fd, &server->listener) < 0) {
        log_error(EVENT_RUNTIME_ERROR, "server_error: the new listening socket cannot be used: %s", strerror(errno));
        server->stopped = true; /* the next worker inherits it */
    }
    fd_close(&fd);
    server->resume_at = CLOCK_NEVER;
}

/* The queue was shut down, and `fd` replaces it. What lay in the old one is in the new one too. */
static void server_replace_queue(struct server *server, int fd)
{
    server_set_accepting(server, false);
    if (server->config->queue > 0 && dup3(fd, server->config->queue, O_CLOEXEC) < 0) {
        log_error(EVENT_RUNTIME_ERROR, "server_error: the new queue of connections cannot be used: %s",
                  strerror(errno));
        server->stopped = true; /* the next worker inherits it */
    }
    fd_close(&fd);
    server->has_queue = server->config->queue > 0;
    server->resume_at = CLOCK_NEVER;
}

/* The runtime stops. Silent clients get SILENT_LINGER to begin a request. A worker that is replaced does not need that:
 * it leaves them to its successor. A spare leaves all of them to the workers. */
static void server_begin_drain(struct server *server)
{
    if (server->waits) {
        server_retire(server);
    } else if (!server_is_draining(server)) {
        server->host.stage = STAGE_DRAINING;
        server->dismiss_at = clock_after(clock_now(), SILENT_LINGER);
    }
}

static void server_obey(struct server *server)
{
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    int status;
    while ((status = control_receive(server->config->control, &message, fds)) > 0) {
        uint32_t used = 0;
        if (message.type == CONTROL_DRAIN) {
            server_begin_drain(server);
        } else if (message.type == CONTROL_RETIRE) {
            server_retire(server);
        } else if (message.type == CONTROL_SERVE) {
            server->waits = false;
            server_set_accepting(server, true);
        } else if (message.type == CONTROL_LISTENER && message.count == 1) {
            server_replace_listener(server, fds[used++]);
        } else if (message.type == CONTROL_QUEUE && message.count == 1) {
            server_replace_queue(server, fds[used++]);
        } else if (message.type == CONTROL_LOOK && server->accepting) {
            (void)server_take_batch(server, server_take_one); /* without epoll, whose event went to another process */
            (void)server_take_batch(server, server_accept_one);
        }
        for (; used < message.count; used++) {
            fd_close(&fds[used]);
        }
    }
    if (status == 0) {
        server->stopped = true; /* the supervisor is gone */
    }
    tampered_check_read(&server->host.tampered, -status);
}

/* The function has shut down the listening socket or the queue, for all processes that share it: asks the supervisor
 * for a new one. */
static void server_tell_shut(const struct server *server)
{
    if (server->config->control >= 0) {
        (void)control_send(server->config->control, CONTROL_SHUT, NULL, 0); /* else it looks within a second */
    }
}

static void server_obey_event(struct server *server, const struct epoll_event *event)
{
    if (event->data.ptr == &listener_tag) {
        if (server_take_batch(server, server_accept_one) && server->taken == 0 &&
            server_is_shut(server->config->listener)) {
            server_tell_shut(server);
            server_pause_accepting(server, EPIPE);
        }
        return;
    }
    if (event->data.ptr == &queue_tag) {
        if (server_take_batch(server, server_take_one) && server->taken == 0 && server_is_shut(server->config->queue)) {
            (void)epoll_ctl(server->host.epoll, EPOLL_CTL_DEL, server->config->queue, NULL);
            server->has_queue = false; /* no connection can come this way */
            server_tell_shut(server);
        }
        return;
    }
    if (event->data.ptr == &control_tag) {
        server_obey(server);
        return;
    }
    if (event->data.ptr == &wake_tag) {
        uint64_t calls;
        if (read(server->wake, &calls, sizeof calls) == (ssize_t)sizeof calls &&
            server->config->service.collect != NULL) {
            server->config->service.collect(server->config->service.context);
            server->host.now = clock_now(); /* that may have called the function */
        }
        return;
    }
    struct conn *conn = event->data.ptr;
    server_look_at_board(server);
    if ((server->awaited != NULL || server->overwritten) && conn_is_unread(conn)) {
        conn_watch(conn, 0); /* it is unread, so another worker can take it */
        return;
    }
    bool was_partial = server_is_partial(conn);
    dispatch_event(conn, event->events);
    if (!was_partial && server_is_partial(conn)) {
        (void)server_await_rest(server, conn);
    }
}

/* Whether the worker may end. Draining: all connections were accepted and answered. Retiring: no request has begun;
 * unread connections are stored, and go to the next worker. */
static bool server_is_drained(struct server *server)
{
    if (server_is_retiring(server)) {
        return conn_count_begun(&server->host) == 0;
    }
    return server_is_draining(server) && server_take_batch(server, server_take_one) &&
           server_take_batch(server, server_accept_one) && server->host.count == 0;
}

static void server_end_wait(struct server *server)
{
    server->awaited = NULL;
    server->resume_at = CLOCK_NEVER;
    struct conn *next;
    for (struct conn *conn = conn_first_waiting(&server->host); conn != NULL; conn = next) {
        next = conn_next_waiting(conn);
        if (conn_is_unread(conn)) {
            conn_watch(conn, EPOLLIN);
        }
    }
}

/* After a pause: whether one more connection is possible now, or another would give way for it. If not, the pause goes
 * on. */
static bool server_can_take(struct server *server)
{
    int spare = spare_find();
    int error = server_is_shut(server->config->listener) ? EPIPE : spare < 0 ? -spare : 0;
    if (error != EPIPE &&
        ((error == 0 && server_has_place(&server->host)) || server_find_in_the_way(server, error) != NULL)) {
        return true;
    }
    server_pause_accepting(server, error);
    return false;
}

static void server_resume(struct server *server, uint64_t now)
{
    const struct conn *awaited = server->awaited;
    if (awaited != NULL && (awaited->fd < 0 || awaited->state != CONN_READING || server->resume_at <= now)) {
        server_end_wait(server); /* its rest has arrived, or takes too long */
    }
    if (server->accepting || server_is_retiring(server) || server_is_busy(server) ||
        (server->resume_at != CLOCK_NEVER && server->resume_at > now)) {
        return;
    }
    if (server->full != FULL_NOT && !server_can_take(server)) {
        return;
    }
    server->resume_at = CLOCK_NEVER;
    server_set_full(server, FULL_NOT);
    server_set_accepting(server, true);
}

/* The service may end requests between turns, when the server is not running. Then accepting may have to go on, and a
 * deadline may be due earlier than the one that server_deadline() gave: so the server is woken. */
static void server_released(struct conn_host *host)
{
    struct server *server = (struct server *)((char *)host - offsetof(struct server, host));
    server_resume(server, host->looked);
    const struct fdstore *fdstore = server->config->fdstore;
    bool waits = host->lists[CONN_WRITING].first != NULL || host->lists[CONN_YIELDING].first != NULL ||
                 host->lists[CONN_FLUSHING].first != NULL;
    /* server_expire() sets trim_at */
    bool may_trim = host->count == 0 && fdstore != NULL && fdstore->count > FDSTORE_KEPT;
    bool may_read_on = host->paused > 0 && host->given_back;
    bool may_tend = server->config->service.tend != NULL;
    if (waits || may_trim || may_read_on || may_tend || host->stage != STAGE_SERVING) {
        server_wake(server);
    }
}

/* Counts the turn, then checks `awaited`. The supervisor sets `awaited`, then checks `turns`. Both in sequentially
 * consistent order, so at least one of them notices the other (scoreboard.h). */
static void server_update_board(const struct server *server)
{
    struct scoreboard *board = server->config->board;
    if (board == NULL) {
        return;
    }
    atomic_store_explicit(&board->holding, server->host.count, memory_order_relaxed);
    atomic_fetch_add_explicit(&board->turns, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&board->awaited, memory_order_seq_cst) != 0 && server->config->control >= 0) {
        atomic_store_explicit(&board->awaited, 0, memory_order_relaxed);
        (void)control_send(server->config->control, CONTROL_WATCH, NULL, 0); /* a full channel wakes it too */
    }
}

/* Between two requests, where one runs at a time; beside those that run elsewhere. */
static uint64_t server_tend_service(const struct server *server, uint64_t now)
{
    const struct service *service = &server->config->service;
    bool is_between = server->host.running == 0 || server->config->concurrency > 1;
    return service->tend != NULL && is_between && !server_is_draining(server) ? service->tend(service->context, now)
                                                                              : CLOCK_NEVER;
}

/* Acts on the deadlines that had passed at `now`. Returns when the loop must wake up without an event. */
static uint64_t server_expire(struct server *server, uint64_t now)
{
    uint64_t next = dispatch_expire(&server->host, now);
    if (server_is_draining(server) && server->dismiss_at <= now) {
        dispatch_dismiss_silent(&server->host);
        server->dismiss_at = clock_after(now, SILENT_LINGER);
    }
    if (server_is_draining(server) && server->dismiss_at < next) {
        next = server->dismiss_at;
    }
    next = clock_earlier(next, server_trim_slots(server, now));
    next = clock_earlier(next, stock_tend(&server->host.stock, now));
    next = clock_earlier(next, server_tend_service(server, now));
    return server->resume_at < next ? server->resume_at : next;
}

/* The server's own descriptors. They keep their numbers for as long as it serves. 0 stands for none in `config`. */
static void server_note_own(struct server *server)
{
    const struct server_config *config = server->config;
    const int own[] = {config->listener,   config->control, config->queue,   config->fdholder, config->stack,
                       server->host.epoll, server->wake,    config->kept[0], config->kept[1],  config->kept[2]};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        numbers_note(&server->host.numbers, own[i], own[i] > 0);
    }
    server_note_entries(server, 0, true);
}

static bool server_start(struct server *server, struct error *err)
{
    struct conn_host *host = &server->host;
    const struct server_config *config = server->config;
    host->scratch = config->board != NULL ? config->board->scratch : malloc(SCRATCH_SIZE);
    if (host->scratch == NULL) {
        return error_set(err, ERR_MEMORY, 0, "no memory for the read buffer");
    }
    fd_plug_standard(); /* the module may have closed one while it was loaded */
    host->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (host->epoll < 0 || server->wake < 0) {
        return error_set(err, ERR_SERVER, 0, "epoll_create1 or eventfd: %s", strerror(errno));
    }
    tampered_begin(&host->tampered, config->board, config->listener, config->fdholder > 0 ? config->fdholder : -1,
                   config->protocol);
    if (fd_stat(config->listener, &server->listener) < 0) {
        return error_set(err, ERR_SERVER, 0, "the module closed the listening socket while it was loaded");
    }
    spare_keep(&server->spare);
    server_note_own(server);
    server->descriptors_begun = (uint64_t)server->wake + 1; /* the lowest free number: nearly the count */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &wake_tag};
    if (epoll_ctl(host->epoll, EPOLL_CTL_ADD, server->wake, &event) != 0) {
        return error_set(err, ERR_SERVER, 0, "cannot watch the wake-up descriptor: %s", strerror(errno));
    }
    event.data.ptr = &control_tag;
    if (config->control >= 0 && epoll_ctl(host->epoll, EPOLL_CTL_ADD, config->control, &event) != 0) {
        return error_set(err, ERR_SERVER, 0, "cannot watch the control channel: %s", strerror(errno));
    }
    server_set_accepting(server, true);
    return true;
}

struct server *server_open(const struct server_config *config, struct error *err)
{
    struct server *server = calloc(1, sizeof *server); /* too large for a stack frame */
    if (server == NULL) {
        error_set(err, ERR_MEMORY, 0, "no memory for the server");
        return NULL;
    }
    server->config = config;
    server->has_queue = config->queue > 0;
    server->waits = config->waits;
    server->deadline = server->resume_at = server->dismiss_at = server->trim_at = server->starving_since = CLOCK_NEVER;
    struct conn_host *host = &server->host;
    host->config = config;
    host->looked = host->now = clock_now();
    host->epoll = server->wake = -1;
    host->released = server_released;
    host->stock.reply = buffer_make(REPLY_LIMIT);
    host->stock.request = buffer_make(INTAKE_LIMIT(config->max_message));
    host->slots.board = config->board;
    host->slots.fdstore = config->fdstore;
    host->slots.tampered = &host->tampered;
    host->slots.control = config->control;
    slots_reset(&host->slots);
    if (!server_start(server, err)) {
        server_close(server);
        return NULL;
    }
    server->deadline = config->service.tend != NULL ? 0 : server->resume_at; /* the latter if the listener could not be
                                                                                watched */
    return server;
}

int server_descriptor(const struct server *server) { return server->host.epoll; }

uint64_t server_deadline(const struct server *server) { return clock_earlier(server->deadline, log_due()); }

void server_wake(struct server *server)
{
    uint64_t one = 1;
    if (write(server->wake, &one, sizeof one) < 0) {
        return; /* EAGAIN: it is readable already */
    }
}

/* Deadlines are judged after everything that the sockets reported was handled, and by the time of that report. The
 * function may have run for minutes since then: a request that arrived in the meantime is not late. */
bool server_turn(struct server *server, bool wait)
{
    struct conn_host *host = &server->host;
    const struct service *service = &server->config->service;
    struct epoll_event events[EVENTS_MAX];
    if (server->left) {
        _exit(0);
    }
    server_update_board(server);
    int timeout = wait ? clock_timeout(host->now, server_deadline(server)) : 0;
    int count = epoll_wait(host->epoll, events, EVENTS_MAX, timeout);
    uint64_t looked = host->looked = host->now = clock_now();
    log_tend(looked);
    if (count < 0 && errno != EINTR) {
        tampered_end(&server->host.tampered); /* the epoll descriptor is not ours any more */
    }
    if (count < 0 && errno == EINTR && service->interrupted != NULL) {
        service->interrupted(service->context);
        host->now = clock_now(); /* the user's signal handlers may have run */
    }
    for (int i = 0; i < count; i++) {
        server_obey_event(server, &events[i]);
    }
    server_count_requests(server);
    server->deadline = count < EVENTS_MAX ? server_expire(server, looked) : 0;
    server_resume(server, looked);
    conn_round_end(host);
    server_look_at_board(server);
    return !server->stopped && !server_is_drained(server);
}

void server_leave(struct server *server)
{
    server->left = true;
    fd_close(&server->host.epoll);
    fd_close(&server->wake);
}

void server_close(struct server *server)
{
    conn_host_done(&server->host);
    fd_close(&server->host.epoll);
    fd_close(&server->wake);
    free(server);
}

bool server_run(const struct server_config *config, struct error *err)
{
    struct server *server = server_open(config, err);
    if (server == NULL) {
        return false;
    }
    while (server_turn(server, true)) {
    }
    server_close(server);
    return true;
}
