/*
 * The driver of all connections.
 *
 *   dispatch_begin, _event, _expire, _release  ->  dispatch_drive(conn)  ->  dispatch_settle(host)
 *
 * dispatch_drive() works on one connection: it asks intake.c what has arrived and acts on the verdict, again and again,
 * until the connection has to wait for its client, for the service or for other connections. dispatch_settle() then
 * gives the service the requests that wait for it (QUEUED), first in, first out.
 *
 * While the service runs in answer() it may finish other requests and send events of streams (exchange.h). Nothing may
 * be read during that time: the message that answer() was given may lie in the scratch buffer, which the next read of
 * any connection overwrites. A connection that could read on then becomes YIELDING instead, and the next
 * dispatch_expire() reads on.
 */
#include "server/dispatch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/traceparent.h"
#include "server/brief.h"
#include "server/budget.h"
#include "server/hangup.h"
#include "server/http.h"
#include "server/intake.h"
#include "server/output.h"
#include "server/peek.h"
#include "server/record.h"
#include "server/room.h"
#include "wire/framed.h"
#include "wire/reply.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define TRUSTED_TIME (CLOCK_MS / 20)     /* of a function, after which conn_check() costs less than 1 % of its time */
#define DRAIN_BYTES  ((size_t)256 << 20) /* bytes a refused client may still send before its connection is closed */

enum {
    REQUESTS_A_TURN = 16, /* requests of one connection in a row, before other connections are served */
    FIXED_BODY_MAX = 96,  /* bytes of the body of a fixed reply */
};

/* ---- the end of a reply ----------------------------------------------------------------------------------------- */

/* Reads and discards what the client still sends, so that the close does not destroy its refusal (hangup.h). */
static void dispatch_drain(struct conn *conn)
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

/* Frees the request's bytes; what has arrived of the next request stays. */
static void dispatch_drop_message(struct conn *conn)
{
    size_t rest = conn->in.size - conn->request_end;
    if (rest > 0) {
        memmove(conn->in.data, conn->in.data + conn->request_end, rest);
        conn->in.size = rest;
    } else {
        stock_keep(&conn->host->stock, &conn->host->stock.request, &conn->in);
    }
    conn->request_end = 0;
    conn_count_buffers(conn);
}

/* The connection stays open: starts the next request, with what has arrived of it. */
static void dispatch_next_request(struct conn *conn)
{
    dispatch_drop_message(conn);
    stock_keep(&conn->host->stock, &conn->host->stock.reply, &conn->out);
    conn->served++;
    conn->seen = conn->sent = conn->moved = 0;
    conn->moved_at = conn->paused_at = 0;
    conn->tally = (struct tally_request){0};
    conn->head_size = 0;
    conn->data = NULL;
    intake_begin(conn);
    conn_await_request(conn);
    if (!slot_renew(&conn->host->slots, conn->slot, conn->in.size > 0 ? conn->in.data : NULL)) {
        conn_close(conn);
    }
}

void dispatch_finish(struct conn *conn)
{
    conn_count(conn);
    if (conn->refused && !conn->peer_done && shutdown(conn->fd, SHUT_WR) == 0) {
        conn_enter(conn, CONN_DRAINING);
        dispatch_drain(conn);
    } else if (conn_is_kept(conn)) {
        dispatch_next_request(conn);
    } else {
        conn_close(conn);
    }
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

static void dispatch_client_gone(struct conn *conn)
{
    if (conn->seen == 0) {
        log_debug(EVENT_CLIENT_GONE, "a client connected and went away without a message");
    } else {
        log_client(EVENT_CLIENT_GONE, "connection_error", "the client went away before it had read its reply: %s",
                   strerror(errno));
    }
    conn_close(conn);
}

/* What the supervisor does with the connection once the reply is out. Must agree with dispatch_finish(). */
static enum slot_then dispatch_after_reply(const struct conn *conn)
{
    if (!conn_is_kept(conn)) {
        return THEN_CLOSED;
    }
    return conn->in.size > conn->request_end ? THEN_TAKEN : THEN_UNREAD;
}

/* The rest of the reply is sent as the client reads. */
static void dispatch_await_room(struct conn *conn)
{
    conn_enter(conn, CONN_WRITING);
    conn_watch(conn, EPOLLOUT);
}

/* Sends conn->head and `body` as the whole reply. What the client does not take now is kept in conn->out: then the
 * bytes are moved out of `body`. */
static void dispatch_send_reply(struct conn *conn, struct buffer *body)
{
    conn->sent = 0;
    conn->then = dispatch_after_reply(conn);
    switch (output_push(conn, (struct view){(const char *)body->data, body->size})) {
    case OUTPUT_SENT: /* the common case: `body` keeps its buffer, for reuse */
        dispatch_finish(conn);
        return;
    case OUTPUT_FAILED:
        dispatch_client_gone(conn);
        return;
    case OUTPUT_WAITING:
        break;
    }
    buffer_done(&conn->out);
    conn->out = *body;
    *body = buffer_make(body->limit);
    dispatch_await_room(conn);
}

/* Likewise for conn->head and a few bytes, which need no memory but behind earlier replies that the client has not read
 * yet. */
static void dispatch_send_small(struct conn *conn, struct view bytes)
{
    conn->sent = 0;
    conn->then = dispatch_after_reply(conn);
    enum output_step step = output_push(conn, bytes);
    buffer_done(&conn->out);
    if (step == OUTPUT_SENT) {
        dispatch_finish(conn);
    } else if (step == OUTPUT_WAITING && buffer_append(&conn->out, bytes.data, bytes.size) == BUFFER_OK) {
        dispatch_await_room(conn);
    } else {
        dispatch_client_gone(conn);
    }
}

static void dispatch_send_out_of_memory(struct conn *conn)
{
    conn->keep_alive = false;
    conn->head_size = 0;
    dispatch_send_small(conn, reply_out_of_memory(conn->protocol));
}

static void dispatch_count_refusal(const struct conn_host *host, const struct error *err)
{
    if (err->category == ERR_EMPTY) { /* probes connect without a message to see whether the runtime listens */
        log_debug(EVENT_REQUEST_REFUSED, "empty_message: %s", err->text);
    } else {
        log_client(EVENT_REQUEST_REFUSED, error_code(err->category), "%s", err->text);
        if (host->config->board != NULL) {
            struct incident incident;
            incident_make(&incident, err->category, view_of(""), view_of(err->type), view_of(err->text));
            incident_note(&host->config->board->incidents, &incident);
        }
    }
    if (host->config->board != NULL) {
        atomic_fetch_add_explicit(&host->config->board->refused, 1, memory_order_relaxed);
    }
}

/* When the request arrived. The supervisor is told, too: it may have to answer. */
static void dispatch_note_arrival(const struct conn *conn)
{
    struct scoreboard *board = conn->host->config->board;
    if (board != NULL && conn->slot != NO_SLOT) {
        atomic_store_explicit(&board->tally.last_request, conn->tally.began, memory_order_relaxed);
        atomic_store_explicit(&board->slots[conn->slot].began, conn->tally.began, memory_order_relaxed);
    }
}

/* Answers with an error of our own: the request does not reach the function. `status`: the HTTP status, or 0 for that
 * of the error's category. */
static void dispatch_refuse(struct conn *conn, unsigned status, const struct error *err)
{
    const struct slots *slots = &conn->host->slots;
    if (!slot_claim(slots, conn->slot)) {
        conn_close(conn); /* the supervisor has taken the connection and answers it */
        return;
    }
    struct buffer out = buffer_make(REPLY_LIMIT);
    dispatch_count_refusal(conn->host, err);
    buffer_done(&conn->in);
    conn->keep_alive = false;
    conn->head_size = 0;
    conn->refused = err->category != ERR_CONNECTION; /* a client that was too slow is not drained as well */
    conn_decide(conn, err->category);
    dispatch_note_arrival(conn);
    slot_reply(slots, conn->slot);
    conn_enter(conn, CONN_WRITING);
    if (reply_failure_http(&out, conn->protocol, status, err) == BUFFER_OK) {
        dispatch_send_reply(conn, &out);
    } else {
        if (log_pass(LOG_LEVEL_ERROR, "out_of_memory")) {
            log_error(EVENT_MEMORY_SHORT, "out_of_memory: no memory for a refusal");
        }
        dispatch_send_out_of_memory(conn);
    }
    buffer_done(&out);
}

static void dispatch_answer_fixed(struct conn *conn, const struct verdict_details *details)
{
    const char *body = conn->http.request.method != HTTP1_HEAD ? details->body : "";
    intake_keep_rest(conn, details);
    http_head(conn, details->status, strlen(details->body), details->allow);
    slot_reply(&conn->host->slots, conn->slot);
    dispatch_send_small(conn, view_of(body));
}

static void dispatch_write_reply_head(struct conn *conn, const struct reply *reply)
{
    conn->head_size = 0;
    if (conn->protocol == PROTOCOL_HTTP) {
        conn->keep_alive = conn->keep_alive && !conn_host_is_closing(conn->host);
        http_head(conn, reply->status, reply->body.size, NULL);
    } else if (conn->protocol == PROTOCOL_FRAMED) {
        framed_prefix((unsigned char *)conn->head, (uint32_t)reply->body.size);
        conn->head_size = FRAMED_PREFIX_SIZE;
    }
}

/* Before the reply is sent, at host->now: whether the function has put another file in the connection's place. */
static void dispatch_check(const struct conn *conn)
{
    const struct scoreboard *board = conn->host->config->board;
    if (board != NULL && conn->slot != NO_SLOT) {
        uint64_t since = atomic_load_explicit(&board->slots[conn->slot].since, memory_order_relaxed);
        if (conn->host->now - since >= TRUSTED_TIME) {
            conn_check(conn);
        }
    }
}

/* The reply is written. `category`: of a failure that the service has not named (exchange_fail). */
static void dispatch_decide_reply(struct conn *conn, enum error_category category)
{
    if (conn->host->config->board != NULL) {
        conn->host->now = conn->tally.replied = clock_now();
        conn_decide(conn, conn->tally.failed != 0 && category != ERR_MEMORY ? conn->tally.failed : category);
    }
}

static void dispatch_send(struct conn *conn, struct reply *reply, bool is_lost)
{
    struct scoreboard *board = conn->host->config->board;
    if (board != NULL && !reply->succeeded) {
        atomic_fetch_add_explicit(&board->failures, 1, memory_order_relaxed);
    }
    if (conn->fd < 0) {
        return;
    }
    dispatch_decide_reply(conn, is_lost ? ERR_MEMORY : reply->succeeded ? ERR_NONE : ERR_PROCESSING);
    dispatch_check(conn);
    if (!slot_leave(&conn->host->slots, conn->slot, SLOT_REPLYING)) {
        conn->tally.pending = 0; /* the supervisor has answered, and counts */
        conn_close(conn);
        return;
    }
    if (is_lost) {
        dispatch_send_out_of_memory(conn);
        return;
    }
    dispatch_write_reply_head(conn, reply);
    conn->refused = !reply->succeeded && !conn->keep_alive; /* the client may still be sending when it gets an error */
    dispatch_send_reply(conn, &reply->body);
}

void dispatch_deliver(struct conn *conn, struct reply *reply)
{
    bool is_lost = reply->body.size == 0 && !(conn->protocol == PROTOCOL_HTTP && reply->status == 204);
    const struct record record = conn->record;
    bool succeeded = !conn->has_failed && !is_lost;
    dispatch_send(conn, reply, is_lost);
    record_end(&record, succeeded);
}

/* ---- the service ------------------------------------------------------------------------------------------------ */

static void dispatch_count_running(const struct conn_host *host)
{
    if (host->config->board != NULL) {
        atomic_store_explicit(&host->config->board->running, host->running, memory_order_relaxed);
    }
}

static void dispatch_count_busy(const struct conn_host *host, uint32_t busy)
{
    if (host->config->board != NULL) {
        atomic_store_explicit(&host->config->board->busy, busy, memory_order_relaxed);
    }
}

/* Fills in the request for the service, and notes on the scoreboard that it runs. */
static struct request dispatch_begin_request(struct conn *conn, const unsigned char *message)
{
    struct conn_host *host = conn->host;
    struct scoreboard *board = host->config->board;
    struct request request = {.message = message + conn->body_at,
                              .size = conn->body_size,
                              .protocol = conn->protocol,
                              .sequence = ++host->sequence,
                              .conn = conn};
    conn->sequence = request.sequence;
    if (conn->protocol == PROTOCOL_HTTP) {
        request.id = http1_view(message, conn->http.request.request_id);
        struct view traceparent = http1_view(message, conn->http.request.traceparent);
        if (traceparent_is_valid(traceparent)) {
            request.traceparent = traceparent;
            request.tracestate = http1_view(message, conn->http.request.tracestate);
        }
    }
    host->running++;
    dispatch_count_running(host);
    if (board != NULL) {
        atomic_store_explicit(&board->requests, request.sequence, memory_order_relaxed);
        request.slot = slot_run(&host->slots, conn->slot, request.sequence, host->now);
        conn->tally.started = host->now;
        dispatch_note_arrival(conn);
        if (request.id.size > 0 && request.slot != NULL) {
            scoreboard_note_id(board, request.slot, request.id);
        }
        if (request.traceparent.size > 0 && request.slot != NULL) {
            scoreboard_note_trace(board, request.slot, request.traceparent);
        }
    }
    return request;
}

/* Calls the service. `message` is the whole request with its HTTP head or length prefix. */
static void dispatch_run(struct conn *conn, const unsigned char *message)
{
    struct conn_host *host = conn->host;
    const struct service *service = &host->config->service;
    struct request request = dispatch_begin_request(conn, message);
    record_begin(&request);
    conn->record = record_of(request.slot);
    conn->has_failed = false;
    dispatch_count_busy(host, 1);
    conn_enter(conn, CONN_RUNNING);
    buffer_reset(&host->stock.reply, STOCK_MOST);
    struct reply reply = {.body = host->stock.reply, .status = 200};
    host->stock.reply = buffer_make(REPLY_LIMIT);
    host->answering = true;
    enum service_status status = service->answer(service->context, &request, &reply);
    host->answering = false;
    dispatch_count_busy(host, 0);
    if (status == SERVICE_DONE) {
        host->running--;
        dispatch_count_running(host);
        dispatch_deliver(conn, &reply);
    } else if (conn->fd >= 0 && conn->sequence == request.sequence && conn_is_in_service(conn)) {
        if (conn->state == CONN_RUNNING) {
            conn_watch(conn, 0); /* only now, since a reply at once needs no change: saves two system calls a request */
        }
        dispatch_drop_message(conn); /* frees the memory of a long request while the service works */
    }
    struct buffer kept = host->stock.reply; /* of a stream that was ended meanwhile; else empty */
    host->stock.reply = reply.body;
    stock_keep(&host->stock, &host->stock.reply, &kept);
}

/* A whole request has arrived: gives it to the service, or puts it into QUEUED. */
static void dispatch_submit(struct conn *conn, const struct verdict_details *details)
{
    struct conn_host *host = conn->host;
    if (conn_host_has_capacity(host) && host->lists[CONN_QUEUED].first == NULL) { /* keep first in, first out */
        intake_keep_rest(conn, details);
        dispatch_run(conn, details->message);
    } else if (conn->in.size == 0 && buffer_append(&conn->in, details->message, details->size) != BUFFER_OK) {
        struct error err;
        error_set(&err, ERR_MEMORY, 0, "no memory for a request of %zu bytes that has to wait", details->size);
        dispatch_refuse(conn, 0, &err);
    } else {
        conn->tally.whole = host->now;
        conn_enter(conn, CONN_QUEUED);
        conn_watch(conn, 0);
    }
}

/* ---- the driver ------------------------------------------------------------------------------------------------- */

static bool dispatch_is_reading(const struct conn *conn)
{
    return conn_is_idle(conn) || (conn->fd >= 0 && (conn->state == CONN_READING || conn->state == CONN_REJECTING));
}

static void dispatch_yield(struct conn *conn)
{
    conn_enter(conn, CONN_YIELDING);
    conn_watch(conn, 0);
}

static void dispatch_act(struct conn *conn, enum verdict verdict, const struct verdict_details *details)
{
    switch (verdict) {
    case VERDICT_REQUEST:
        dispatch_submit(conn, details);
        return;
    case VERDICT_FIXED:
        dispatch_answer_fixed(conn, details);
        return;
    case VERDICT_REFUSED:
        dispatch_refuse(conn, details->status, &details->err);
        return;
    case VERDICT_PAUSE:
        budget_pause(conn);
        return;
    case VERDICT_GONE:
        conn_close(conn);
        return;
    default:
        conn_watch(conn, EPOLLIN);
        return;
    }
}

/* Reads and handles what has arrived on this connection. */
static void dispatch_drive(struct conn *conn)
{
    uint32_t before = conn->served;
    struct verdict_details details;
    while (dispatch_is_reading(conn)) {
        enum verdict verdict = intake_next(conn, &details);
        dispatch_act(conn, verdict, &details);
        if (verdict == VERDICT_WAIT || verdict == VERDICT_PAUSE || !dispatch_is_reading(conn)) {
            return;
        }
        if (conn->in.size == 0) { /* answered a moment ago: the next request is rarely there yet, so save the read */
            conn_watch(conn, EPOLLIN);
            return;
        }
        if (conn->served == before + REQUESTS_A_TURN) {
            dispatch_yield(conn);
            return;
        }
    }
}

/* Gives the service the requests in QUEUED, as long as it has capacity. */
static void dispatch_settle(struct conn_host *host)
{
    struct conn *conn;
    while (conn_host_has_capacity(host) && (conn = host->lists[CONN_QUEUED].first) != NULL) {
        dispatch_run(conn, conn->in.data);
        dispatch_drive(conn);
    }
}

void dispatch_begin(struct conn *conn)
{
    struct conn_host *host = conn->host;
    dispatch_drive(conn);
    dispatch_settle(host);
}

void dispatch_release(struct conn *conn)
{
    struct conn_host *host = conn->host;
    host->running--;
    dispatch_count_running(host);
    if (host->answering) { /* dispatch_run(), further up the stack, calls dispatch_settle() later */
        if (dispatch_is_reading(conn)) {
            dispatch_yield(conn);
        }
        return;
    }
    dispatch_drive(conn);
    dispatch_settle(host);
    if (host->released != NULL) {
        host->released(host);
    }
}

/* ---- accepting, and giving way ---------------------------------------------------------------------------------- */

/* The log line comes last: the connection may have the number of the log's descriptor. */
void dispatch_turn_away(const struct conn_host *host, int fd, bool kept)
{
    if (kept && hangup_if_idle(&fd)) {
        return;
    }
    enum protocol protocol = peek_protocol(fd, host->config->protocol);
    struct view last = reply_out_of_memory(protocol);
    if (host->config->board != NULL) {
        struct tally_request request = {.began = host->now, .pending = 1 + ERR_MEMORY};
        tally_count(&host->config->board->tally, protocol, &request, host->now, TALLY_NO_SLOT, NULL);
    }
    (void)brief_send(fd, last.data, last.size);
    (void)hangup(&fd);
    if (log_pass(LOG_LEVEL_ERROR, "out_of_memory")) {
        log_error(EVENT_MEMORY_SHORT, "out_of_memory: no memory or no descriptor for a connection");
    }
}

/* Closes the oldest idle connection, but not `but`. False if there is none. */
static bool dispatch_vacate_idle(const struct conn_host *host, const struct conn *but)
{
    struct conn *conn = room_find(host, 0); /* time 0: no connection seems old, so only an idle one is found */
    if (conn == NULL || conn == but) {
        return false;
    }
    dispatch_vacate(conn);
    return true;
}

struct conn *dispatch_accept(struct conn_host *host, int fd, bool kept)
{
    int stored = 0;
    struct conn *conn = slots_have_room(&host->slots) ? conn_open(host, fd, kept, &stored) : NULL;
    if (conn == NULL) {
        dispatch_turn_away(host, fd, kept);
        return NULL;
    }
    intake_begin(conn);
    while (stored < 0 && dispatch_vacate_idle(host, conn)) { /* which frees a descriptor and memory */
        stored = slot_store(&host->slots, conn->slot, fd);
    }
    if (stored < 0 && log_pass(LOG_LEVEL_WARNING, "stored")) {
        log_warning(EVENT_CONNECTION_TROUBLE,
                    "a connection could not be stored (%s): if the function closes it, its client gets no reply",
                    strerror(-stored));
    }
    return conn;
}

/* The next request may arrive at any moment, and must not be lost unanswered. shutdown(SHUT_RD) on a Unix socket makes
 * later sends of the client fail, while what it sent before can still be read: so no request is taken and then dropped.
 * A request that is there is read in a later round and not here, since the caller may be about to run a message that
 * lies in the scratch buffer. */
void dispatch_part(struct conn *conn)
{
    const struct slots *slots = &conn->host->slots;
    char byte;
    if (!slot_claim(slots, conn->slot)) {
        conn_close(conn); /* the supervisor has taken the connection */
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
    slot_set(slots, conn->slot, SLOT_WAITING); /* no byte of a request was read */
    conn_enter(conn, CONN_READING);            /* gives the request that is there a new ASYA_READ_TIMEOUT */
    conn_watch(conn, EPOLLIN);
}

void dispatch_vacate(struct conn *conn)
{
    struct error err;
    if (conn_is_idle(conn)) {
        dispatch_part(conn);
        return;
    }
    room_describe(conn, &err);
    dispatch_refuse(conn, 408, &err); /* RFC 9110, section 15.5.9 */
    if (conn->fd >= 0) { /* earlier replies are unread and fill the send buffer, and the place is needed now */
        brief_enlarge(conn->fd);
        (void)output_resume(conn);
        conn_close(conn);
    }
}

static struct conn *dispatch_find_silent(const struct conn_host *host)
{
    struct conn *conn = conn_first_waiting(host);
    while (conn != NULL && !conn_is_silent(conn)) {
        conn = conn_next_waiting(conn);
    }
    return conn;
}

void dispatch_dismiss_silent(struct conn_host *host)
{
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the runtime is shutting down");
    struct conn *conn;
    while ((conn = dispatch_find_silent(host)) != NULL) { /* both calls end the silent state, so the loop ends */
        if (conn_is_idle(conn)) {
            dispatch_part(conn);
        } else {
            dispatch_refuse(conn, 0, &err);
        }
    }
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static void dispatch_resume_service(struct conn *conn)
{
    const struct service *service = &conn->host->config->service;
    if (service->resume != NULL) {
        service->resume(service->context, conn);
    }
}

/* The client of a stream has closed the connection while nothing waited to be sent. */
static void dispatch_stream_event(struct conn *conn, uint32_t events)
{
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        conn->gone = true;
        dispatch_resume_service(conn);
    }
}

/* A paused connection is watched only for its end: the client has closed it. */
static void dispatch_paused_event(struct conn *conn, uint32_t events)
{
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        log_client(EVENT_CLIENT_GONE, "connection_error",
                   "the client went away after %zu bytes, before its message was complete", conn->seen);
        conn_close(conn);
    }
}

/* All that was pending of a stream was sent, or its client is gone. */
static void dispatch_go_on_streaming(struct conn *conn, enum output_step step)
{
    conn->gone = conn->gone || step == OUTPUT_FAILED;
    buffer_reset(&conn->out, SCRATCH_SIZE);
    conn->sent = 0;
    conn_enter(conn, CONN_STREAMING);
    conn_watch(conn, conn->gone ? 0 : EPOLLET);
    dispatch_resume_service(conn);
}

/* The client can take more of a pending reply or stream. */
static void dispatch_writable_event(struct conn *conn)
{
    enum output_step step = output_resume(conn);
    if (step == OUTPUT_WAITING) {
        return;
    }
    if (conn_is_in_service(conn)) {
        dispatch_go_on_streaming(conn, step);
    } else if (step == OUTPUT_SENT) {
        dispatch_finish(conn);
    } else {
        dispatch_client_gone(conn);
    }
}

void dispatch_event(struct conn *conn, uint32_t events)
{
    struct conn_host *host = conn->host;
    switch (conn->fd >= 0 ? conn->state : CONN_STATES) {
    case CONN_READING:
        if (conn->paused) {
            dispatch_paused_event(conn, events);
            return;
        }
        break;
    case CONN_IDLE:
    case CONN_REJECTING:
        break;
    case CONN_WRITING:
    case CONN_FLUSHING:
        dispatch_writable_event(conn);
        break;
    case CONN_STREAMING:
        dispatch_stream_event(conn, events);
        return;
    case CONN_DRAINING:
        dispatch_drain(conn);
        return;
    default: /* closed earlier in this round, or in a state that is not watched */
        return;
    }
    dispatch_drive(conn);
    dispatch_settle(host);
}

/* ---- deadlines -------------------------------------------------------------------------------------------------- */

static void dispatch_expire_request(struct conn *conn)
{
    const struct server_config *config = conn->host->config;
    unsigned long long limit = config->read_timeout / CLOCK_MS;
    struct error err;
    if (conn->paused_at != 0) {
        error_set(&err, ERR_SERVER, 0,
                  "the request was not read within %llu ms (ASYA_READ_TIMEOUT): for a part of that time "
                  "others had used up the %zu bytes of ASYA_MAX_BUFFERED; %zu bytes were read; send it again",
                  limit, config->max_buffered, conn->seen);
        dispatch_refuse(conn, 0, &err);
    } else {
        bool is_raw = conn->protocol != PROTOCOL_HTTP && conn->protocol != PROTOCOL_FRAMED;
        error_set(
            &err, ERR_CONNECTION, 0,
            "the request was not complete within %llu ms (ASYA_READ_TIMEOUT); %zu bytes arrived%s", limit, conn->seen,
            is_raw && raw_is_number(&conn->raw) ? "; a number alone ends at white space, or when the client half-closes"
                                                : "");
        dispatch_refuse(conn, 408, &err);
    }
}

static void dispatch_expire_output(struct conn *conn)
{
    output_log_unread(conn);
    if (!conn_is_in_service(conn)) {
        conn_close(conn);
        return;
    }
    conn->gone = true;
    conn_enter(conn, CONN_STREAMING);
    conn_watch(conn, 0);
    dispatch_resume_service(conn);
}

static void dispatch_expire_one(struct conn *conn)
{
    struct verdict_details details;
    switch (conn->state) {
    case CONN_READING:
        dispatch_expire_request(conn);
        return;
    case CONN_IDLE:
        dispatch_part(conn);
        return;
    case CONN_REJECTING:
        dispatch_act(conn, intake_judge(conn, &details), &details);
        return;
    case CONN_YIELDING:
        conn_await_request(conn);
        dispatch_begin(conn);
        return;
    case CONN_WRITING:
    case CONN_FLUSHING:
        dispatch_expire_output(conn);
        return;
    default:
        conn_close(conn);
        return;
    }
}

/* Lets paused connections read on as far as the budget allows, and ends stalled ones that hold its bytes. */
static void dispatch_tend_budget(struct conn_host *host, uint64_t now)
{
    struct error err;
    struct conn *stalled;
    if (host->paused == 0) {
        return;
    }
    budget_read_on(host);
    while ((stalled = budget_find_stalled(host, now, &err)) != NULL) {
        dispatch_refuse(stalled, 408, &err);
        budget_read_on(host);
    }
}

uint64_t dispatch_expire(struct conn_host *host, uint64_t now)
{
    for (int state = 0; state < CONN_STATES; state++) {
        struct conn_list *list = &host->lists[state];
        while (list->first != NULL && list->first->deadline <= now) {
            dispatch_expire_one(list->first); /* leaves this list: closed, or in another state with a later deadline */
        }
    }
    dispatch_tend_budget(host, now);
    return clock_earlier(conn_next_deadline(host), budget_next(host, now));
}
