#include "server/conn.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/budget.h"
#include "server/hangup.h"
#include "server/http.h"
#include "server/intake.h"
#include "server/output.h"
#include "server/peek.h"
#include "server/rights.h"
#include "server/slot.h"
#include "wire/framed.h"
#include "wire/reply.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long and how much a refused client may go on sending before its connection is closed under it. */
#define DRAIN_TIMEOUT  (2 * CLOCK_SECOND)
#define REJECT_TIMEOUT (1 * CLOCK_SECOND) /* for the rest of a message that cannot be JSON */
#define DRAIN_BYTES    ((size_t)256 << 20)

enum { KEEP_REPLY = 1 << 20 }; /* bytes of reply buffer kept between requests */

/* ---- lists of deadlines ----------------------------------------------------------------------------------------- */

static void list_remove(struct conn_list *list, struct conn *conn)
{
    *(conn->previous != NULL ? &conn->previous->next : &list->first) = conn->next;
    *(conn->next != NULL ? &conn->next->previous : &list->last) = conn->previous;
    conn->previous = conn->next = NULL;
}

/* By the deadline: nearly always last. */
static void list_insert(struct conn_list *list, struct conn *conn)
{
    struct conn *before = list->last;
    while (before != NULL && before->deadline > conn->deadline) {
        before = before->previous;
    }
    conn->previous = before;
    conn->next = before != NULL ? before->next : list->first;
    *(before != NULL ? &before->next : &list->first) = conn;
    *(conn->next != NULL ? &conn->next->previous : &list->last) = conn;
}

static uint64_t span_of(const struct conn *conn, enum conn_state state)
{
    const struct conn_host *host = conn->host;
    switch (state) {
    case CONN_READING:
        return host->read_timeout;
    case CONN_REJECTING:
        return REJECT_TIMEOUT;
    case CONN_WRITING:
        return host->write_timeout;
    case CONN_FLUSHING:
        return host->write_timeout - conn->waited;
    case CONN_DRAINING:
        return DRAIN_TIMEOUT;
    case CONN_YIELDING:
        return 0;
    default: /* the service's time is the supervisor's to watch */
        return CLOCK_NEVER;
    }
}

void conn_enter(struct conn *conn, enum conn_state state)
{
    struct conn_host *host = conn->host;
    if (conn->state == CONN_FLUSHING) {
        uint64_t now = clock_now();
        conn->waited = host->write_timeout - (conn->deadline > now ? conn->deadline - now : 0);
    }
    uint64_t span = span_of(conn, state);
    list_remove(&host->lists[conn->state], conn);
    conn->state = state;
    conn->deadline = span == CLOCK_NEVER ? CLOCK_NEVER : clock_after(clock_now(), span);
    list_insert(&host->lists[state], conn);
    budget_count(conn);
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static bool is_in_service(const struct conn *conn)
{
    return conn->state == CONN_RUNNING ||
           ((conn->state == CONN_STREAMING || conn->state == CONN_FLUSHING) && !conn->stream_is_over);
}

/* False with errno where there is no memory to watch it. What else may be said is of descriptors that are not ours any
 * more. */
static bool change_events(struct conn *conn, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    int operation = conn->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    if (epoll_ctl(conn->host->epoll, operation, conn->fd, &event) == 0) {
        conn->events = events;
        return true;
    }
    if (errno != ENOMEM && errno != ENOSPC) {
        tampered_end(&conn->host->tampered);
    }
    return false;
}

void conn_close(struct conn *conn)
{
    struct conn_host *host = conn->host;
    if (conn->events != 0) { /* not left to close(): a copy of the descriptor would keep it there */
        (void)change_events(conn, 0);
    }
    list_remove(&host->lists[conn->state], conn);
    bool is_ours = !conn->handed_on && !slot_is_answered(conn) && slot_claim(conn);
    if (is_ours) {
        tampered_check(&host->tampered, -hangup(&conn->fd));
    } else {
        fd_close(&conn->fd);
    }
    slot_vacate(conn);
    conn->events = 0;
    buffer_done(&conn->in);
    buffer_done(&conn->out);
    budget_count(conn);
    conn->next = host->closed;
    host->closed = conn;
    host->count--;
}

void conn_watch(struct conn *conn, uint32_t events)
{
    if (conn->events == events || change_events(conn, events)) {
        return;
    }
    log_error("server_error: cannot watch a connection: %s", strerror(errno));
    if (is_in_service(conn)) {
        conn->gone = true;
    } else {
        conn_close(conn);
    }
}

bool conn_is_hung_up(const struct conn *conn)
{
    struct pollfd look = {.fd = conn->fd};
    bool found = poll(&look, 1, 0) == 1;
    if (found && (look.revents & POLLNVAL) != 0) {
        tampered_end(&conn->host->tampered);
    }
    return found && (look.revents & POLLHUP) != 0;
}

static void drain(struct conn *conn)
{
    for (;;) {
        ssize_t got = hangup_discard(conn->fd);
        if (got > 0) {
            conn->drained += (size_t)got;
            if (conn->drained > DRAIN_BYTES) {
                conn_close(conn);
                return;
            }
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            conn_watch(conn, EPOLLIN);
            return;
        } else {
            conn_close(conn);
            return;
        }
    }
}

/* The request is not needed any more: what has come of the next one stays. */
static void drop_message(struct conn *conn)
{
    size_t rest = conn->in.size - conn->request_end;
    if (rest > 0) {
        memmove(conn->in.data, conn->in.data + conn->request_end, rest);
        conn->in.size = rest;
    } else {
        buffer_done(&conn->in);
    }
    conn->request_end = 0;
    budget_count(conn);
}

/* The connection stays open: begins with what of the next request is there already. */
static void next_request(struct conn *conn)
{
    drop_message(conn);
    buffer_done(&conn->out);
    conn->served++;
    conn->seen = conn->sent = conn->moved = 0;
    conn->moved_at = conn->paused_at = 0;
    conn->head_size = 0;
    conn->data = NULL;
    intake_begin(conn);
    conn_enter(conn, CONN_READING);
    slot_renew(conn, conn->in.size > 0 ? conn->in.data : NULL);
}

bool conn_is_kept(const struct conn *conn) { return conn->keep_alive && !conn->refused && !conn->peer_done; }

void conn_finish(struct conn *conn)
{
    if (conn->refused && !conn->peer_done && shutdown(conn->fd, SHUT_WR) == 0) {
        conn_enter(conn, CONN_DRAINING);
        drain(conn);
    } else if (conn_is_kept(conn)) {
        next_request(conn);
    } else {
        conn_close(conn);
    }
}

/* ---- refusals --------------------------------------------------------------------------------------------------- */

static void count_refusal(struct conn_host *host, const struct error *err)
{
    if (err->category == ERR_EMPTY) { /* how a prober looks whether somebody is there */
        log_debug("empty_message: %s", err->text);
    } else {
        log_client(error_code(err->category), "%s", err->text);
    }
    if (host->board != NULL) {
        atomic_fetch_add_explicit(&host->board->refused, 1, memory_order_relaxed);
    }
}

void conn_refuse_http(struct conn *conn, unsigned status, const struct error *err)
{
    struct conn_host *host = conn->host;
    if (!slot_claim(conn)) {
        conn_close(conn); /* it is another's to answer now */
        return;
    }
    struct buffer out = buffer_make(REPLY_LIMIT);
    count_refusal(host, err);
    buffer_done(&conn->in);
    conn->keep_alive = false;
    conn->head_size = 0;
    conn->refused = err->category != ERR_CONNECTION; /* who is late has had its time */
    slot_reply(conn);
    conn_enter(conn, CONN_WRITING);
    if (reply_failure_http(&out, conn->protocol, status, err) == BUFFER_OK) {
        output_reply(conn, &out);
    } else {
        log_error("out_of_memory: no memory for a refusal");
        output_small(conn, reply_out_of_memory(conn->protocol));
    }
    buffer_done(&out);
}

void conn_refuse(struct conn *conn, const struct error *err) { conn_refuse_http(conn, 0, err); }

/* ---- the service ------------------------------------------------------------------------------------------------ */

/* The worker ends: it has been told, or will be once it is through with the function. */
static bool is_closing(const struct conn_host *host)
{
    return host->closing ||
           (host->board != NULL && atomic_load_explicit(&host->board->closing, memory_order_relaxed) != 0);
}

static void write_reply_head(struct conn *conn, const struct reply *reply)
{
    conn->head_size = 0;
    if (conn->protocol == PROTOCOL_HTTP) {
        conn->keep_alive = conn->keep_alive && !is_closing(conn->host);
        http_head(conn, reply->status, reply->body.size);
    } else if (conn->protocol == PROTOCOL_FRAMED) {
        framed_prefix((unsigned char *)conn->head, (uint32_t)reply->body.size);
        conn->head_size = FRAMED_PREFIX_SIZE;
    }
}

void conn_deliver(struct conn *conn, struct reply *reply)
{
    struct scoreboard *board = conn->host->board;
    if (board != NULL && !reply->succeeded) {
        atomic_fetch_add_explicit(&board->failures, 1, memory_order_relaxed);
    }
    if (conn->fd < 0) {
        return;
    }
    if (!slot_leave(conn, SLOT_REPLYING)) {
        conn_close(conn);
        return;
    }
    if (reply->body.size == 0 && !(conn->protocol == PROTOCOL_HTTP && reply->status == 204)) {
        conn->keep_alive = false;
        output_small(conn, reply_out_of_memory(conn->protocol));
        return;
    }
    write_reply_head(conn, reply);
    conn->refused = !reply->succeeded && !conn->keep_alive; /* an error may come while it still sends */
    output_reply(conn, &reply->body);
}

static void count_running(const struct conn_host *host)
{
    if (host->board != NULL) {
        atomic_store_explicit(&host->board->running, host->running, memory_order_relaxed);
    }
}

/* Describes the request to the service and to the scoreboard. */
static struct request begin_request(struct conn *conn, const unsigned char *message)
{
    struct conn_host *host = conn->host;
    struct request request = {.message = message + conn->body_at,
                              .size = conn->body_size,
                              .protocol = conn->protocol,
                              .sequence = ++host->sequence,
                              .conn = conn};
    conn->sequence = request.sequence;
    if (conn->protocol == PROTOCOL_HTTP) {
        request.id = http1_view(message, conn->http.request.request_id);
        request.traceparent = http1_view(message, conn->http.request.traceparent);
    }
    host->running++;
    count_running(host);
    if (host->board != NULL) {
        atomic_store_explicit(&host->board->requests, request.sequence, memory_order_relaxed);
        request.slot = slot_run(conn);
        if (request.id.size > 0 && request.slot != NULL) {
            scoreboard_note_id(host->board, request.slot, request.id);
        }
    }
    return request;
}

static void count_busy(const struct conn_host *host, uint32_t busy)
{
    if (host->board != NULL) {
        atomic_store_explicit(&host->board->busy, busy, memory_order_relaxed);
    }
}

/* Calls the service. `message` is the request with all that stands before its body. */
static void run(struct conn *conn, const unsigned char *message)
{
    struct conn_host *host = conn->host;
    slot_store(host); /* nobody is left to what the function does with descriptors */
    struct request request = begin_request(conn, message);
    count_busy(host, 1);
    conn_enter(conn, CONN_RUNNING);
    buffer_reset(&host->reply, KEEP_REPLY);
    struct reply reply = {.body = host->reply, .status = 200};
    host->reply = buffer_make(REPLY_LIMIT); /* a reply within this call has one of its own */
    host->answering = true;
    enum service_status status = host->service->answer(host->service->context, &request, &reply);
    host->answering = false;
    count_busy(host, 0);
    if (status == SERVICE_DONE) {
        host->running--;
        count_running(host);
        conn_deliver(conn, &reply);
    } else if (conn->fd >= 0 && conn->sequence == request.sequence && is_in_service(conn)) {
        if (conn->state == CONN_RUNNING) {
            conn_watch(conn, 0); /* not before it is known that the reply comes later: two calls a request */
        }
        drop_message(conn); /* a long one is not kept while the service works */
    }
    buffer_done(&host->reply);
    host->reply = reply.body;
    if (host->lists[CONN_QUEUED].first != NULL) {
        conn_released(host); /* what was answered meanwhile has left room */
    }
}

static void enqueue(struct conn *conn, const unsigned char *message, size_t size)
{
    struct error err;
    if (conn->in.size == 0 && buffer_append(&conn->in, message, size) != BUFFER_OK) {
        error_set(&err, ERR_MEMORY, 0, "no memory for a request of %zu bytes that has to wait", size);
        conn_refuse(conn, &err);
        return;
    }
    conn_enter(conn, CONN_QUEUED);
    conn_watch(conn, 0);
}

void conn_submit(struct conn *conn, const unsigned char *message, size_t size)
{
    struct conn_host *host = conn->host;
    if (host->running >= host->concurrency || host->lists[CONN_QUEUED].first != NULL) { /* nobody is passed by */
        enqueue(conn, message, size);
        return;
    }
    intake_keep_rest(conn, message, size);
    run(conn, message);
}

void conn_released(struct conn_host *host)
{
    count_running(host);
    if (host->dispatching || host->answering) {
        return; /* further up this is being done */
    }
    host->dispatching = true;
    struct conn *conn;
    while (host->running < host->concurrency && (conn = host->lists[CONN_QUEUED].first) != NULL) {
        run(conn, conn->in.data);
        intake_run(conn);
    }
    host->dispatching = false;
    if (host->released != NULL) {
        host->released(host, host->lists[CONN_WRITING].first != NULL || host->lists[CONN_YIELDING].first != NULL);
    }
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

/* The line comes last: the connection may have the log's number. */
void conn_turn_away(const struct conn_host *host, int fd)
{
    struct view last = reply_out_of_memory(peek_protocol(fd, host->protocol));
    (void)send(fd, last.data, last.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)hangup(&fd);
    log_error("out_of_memory: no memory or no descriptor for a connection");
}

struct conn *conn_accept(struct conn_host *host, int fd, bool kept)
{
    struct conn *conn = host->spare;
    if (host->board != NULL && host->free_count == 0) {
        conn = NULL; /* no caller lets it come to this: everybody has a place on the scoreboard */
    } else if (conn != NULL) {
        host->spare = conn->next;
    } else {
        conn = malloc(sizeof *conn);
    }
    if (conn == NULL) {
        conn_turn_away(host, fd);
        return NULL;
    }
    memset(conn, 0, offsetof(struct conn, head));
    conn->host = host;
    conn->fd = fd;
    conn->slot = NO_SLOT;
    conn->served = kept ? 1 : 0;
    conn->in = buffer_make(INTAKE_LIMIT(host->max_message));
    conn->out = buffer_make(REPLY_LIMIT);
    conn->deadline = clock_after(clock_now(), host->read_timeout);
    list_insert(&host->lists[CONN_READING], conn);
    host->count++;
    rights_keep_in_line(fd);
    intake_begin(conn);
    slot_enter(conn);
    return conn;
}

void conn_begin(struct conn *conn) { intake_run(conn); }

/* The client of a stream has closed, while nothing waited to be sent. */
static void stream_event(struct conn *conn, uint32_t events)
{
    const struct service *service = conn->host->service;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        conn->gone = true;
        if (service->resume != NULL) {
            service->resume(service->context, conn);
        }
    }
}

/* Nobody waits for a reply to what has come. */
static void paused_event(struct conn *conn, uint32_t events)
{
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        log_client("connection_error", "the client went away after %zu bytes, before its message was complete",
                   conn->seen);
        conn_close(conn);
    }
}

void conn_ready(struct conn_host *host, struct conn *conn, uint32_t events)
{
    (void)host;
    if (conn->fd < 0) {
        return; /* closed earlier in this round */
    }
    switch (conn->state) {
    case CONN_READING:
        if (conn->paused) {
            paused_event(conn, events);
            return;
        }
        break;
    case CONN_REJECTING:
        break;
    case CONN_WRITING:
    case CONN_FLUSHING:
        output_resume(conn);
        break;
    case CONN_STREAMING:
        stream_event(conn, events);
        return;
    case CONN_DRAINING:
        drain(conn);
        return;
    default:
        return;
    }
    intake_run(conn);
}

/* Nothing of a request was read. */
static bool is_unread(const struct conn *conn) { return conn->seen == 0 && conn->in.size == 0; }

/* Nor has one come that is to be the last. */
static bool is_silent(const struct conn *conn) { return is_unread(conn) && !conn->parting; }

/* Kept alive, and not used again. */
static bool is_idle(const struct conn *conn) { return conn->served > 0 && is_silent(conn); }

/* A request may arrive at any moment. On a Unix socket there is one behind which nothing can, while what came before it
 * is still there to be read: no client has sent a request in vain. It is read when its turn comes: who needs the place
 * of this one may be about to run a message that lies in the scratch buffer. */
void conn_part(struct conn *conn)
{
    char byte;
    if (!slot_claim(conn)) {
        conn_close(conn); /* the supervisor has taken it over */
        return;
    }
    if (shutdown(conn->fd, SHUT_RD) != 0) {
        tampered_check(&conn->host->tampered, errno);
    }
    if (recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
        conn_close(conn);
        return;
    }
    conn->parting = true;
    slot_set(conn, SLOT_WAITING);   /* not one byte was taken */
    conn_enter(conn, CONN_READING); /* it is not late */
    conn_watch(conn, EPOLLIN);
}

static void expire_request(struct conn *conn)
{
    const struct conn_host *host = conn->host;
    struct error err;
    if (is_idle(conn)) {
        conn_part(conn);
        return;
    }
    if (conn->paused_at != 0) {
        error_set(&err, ERR_SERVER, 0,
                  "the request was not read within %llu ms (ASYA_READ_TIMEOUT), since others filled %zu bytes "
                  "(ASYA_MAX_BUFFERED) for a part of that; %zu bytes were read; send it again",
                  (unsigned long long)(host->read_timeout / CLOCK_MS), host->max_held, conn->seen);
        conn_refuse(conn, &err);
        return;
    }
    error_set(&err, ERR_CONNECTION, 0,
              "the request was not complete within %llu ms (ASYA_READ_TIMEOUT); %zu bytes arrived",
              (unsigned long long)(host->read_timeout / CLOCK_MS), conn->seen);
    conn_refuse_http(conn, 408, &err); /* RFC 9110, section 15.5.9 */
}

static void expire_output(struct conn *conn)
{
    const struct conn_host *host = conn->host;
    output_log_unread(conn);
    if (!is_in_service(conn)) {
        conn_close(conn);
        return;
    }
    conn->gone = true;
    conn_enter(conn, CONN_STREAMING);
    conn_watch(conn, 0);
    if (host->service->resume != NULL) {
        host->service->resume(host->service->context, conn);
    }
}

static void expire(struct conn *conn)
{
    switch (conn->state) {
    case CONN_READING:
        expire_request(conn);
        return;
    case CONN_REJECTING:
        intake_judge(conn);
        return;
    case CONN_YIELDING:
        conn_enter(conn, CONN_READING);
        intake_run(conn);
        return;
    case CONN_WRITING:
    case CONN_FLUSHING:
        expire_output(conn);
        return;
    default:
        conn_close(conn);
        return;
    }
}

uint64_t conn_expire(struct conn_host *host, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    for (int state = 0; state < CONN_STATES; state++) {
        struct conn_list *list = &host->lists[state];
        while (list->first != NULL && list->first->deadline <= now) {
            expire(list->first); /* leaves this list: to another state with a later deadline, or closed */
        }
    }
    for (int state = 0; state < CONN_STATES; state++) {
        const struct conn *first = host->lists[state].first;
        if (first != NULL && first->deadline < next) {
            next = first->deadline;
        }
    }
    return next;
}

uint32_t conn_count_begun(const struct conn_host *host)
{
    uint32_t silent = 0;
    for (const struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = conn->next) {
        silent += is_silent(conn) && slot_is_stored(conn);
    }
    return host->count - silent;
}

static struct conn *find_silent(const struct conn_host *host)
{
    struct conn *conn = host->lists[CONN_READING].first;
    while (conn != NULL && !is_silent(conn)) {
        conn = conn->next;
    }
    return conn;
}

void conn_dismiss_silent(struct conn_host *host)
{
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the runtime is shutting down");
    struct conn *conn;
    while ((conn = find_silent(host)) != NULL) { /* neither leaves it in that list, silent */
        if (is_idle(conn)) {
            conn_part(conn);
        } else {
            conn_refuse(conn, &err);
        }
    }
}

void conn_round_end(struct conn_host *host)
{
    while (host->closed != NULL) {
        struct conn *conn = host->closed;
        host->closed = conn->next;
        conn->next = host->spare;
        host->spare = conn;
    }
}

void conn_host_done(struct conn_host *host)
{
    for (struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = conn->next) {
        if (is_unread(conn)) {
            conn->slot = NO_SLOT; /* stays stored: it is for the next worker */
            conn->handed_on = true;
        }
    }
    for (int state = 0; state < CONN_STATES; state++) {
        while (host->lists[state].first != NULL) {
            conn_close(host->lists[state].first);
        }
    }
    conn_round_end(host);
    while (host->spare != NULL) {
        struct conn *conn = host->spare;
        host->spare = conn->next;
        free(conn);
    }
    buffer_done(&host->reply);
    if (host->board == NULL) {
        free(host->scratch);
    }
    host->scratch = NULL;
}
