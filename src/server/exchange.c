#include "server/exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/conn.h"
#include "server/dispatch.h"
#include "server/output.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

void exchange_reply(struct conn *conn, struct reply *reply)
{
    dispatch_deliver(conn, reply);
    buffer_done(&reply->body);
    dispatch_release(conn);
}

void exchange_called(struct conn *conn)
{
    if (conn->host->config->board != NULL) {
        conn->tally.called = clock_now();
    }
}

void exchange_returned(struct conn *conn)
{
    if (conn->host->config->board != NULL) {
        conn->tally.returned = clock_now();
    }
}

/* What its client has seen of a stream after the event `error` or `done` is its outcome, also if the worker dies then.
 */
static void exchange_note_outcome(const struct conn *conn, uint32_t row)
{
    struct scoreboard *board = conn->host->config->board;
    if (board != NULL && conn->slot != NO_SLOT) {
        atomic_store_explicit(&board->slots[conn->slot].pending, (uint8_t)(row + 1), memory_order_relaxed);
    }
}

void exchange_fail(struct conn *conn, enum error_category category, struct view type)
{
    struct scoreboard *board = conn->host->config->board;
    if (board != NULL) {
        conn->tally.failed = tally_row(&board->tally, category, type);
        exchange_note_outcome(conn, conn->tally.failed);
    }
}

void exchange_keep_record(struct conn *conn, char name[RECORD_NAME_SIZE])
{
    conn->has_failed = true;
    record_name(&conn->record, getpid(), name);
}

void exchange_set_data(struct conn *conn, void *data) { conn->data = data; }

void *exchange_data(const struct conn *conn) { return conn->data; }

bool exchange_is_gone(struct conn *conn)
{
    if (!conn->gone && (slot_is_answered(&conn->host->slots, conn->slot) || conn_is_hung_up(conn))) {
        conn->gone = true;
    }
    return conn->gone;
}

/* HTTP/1.0 has no chunks: there the stream ends with the connection. */
static bool exchange_is_chunked(const struct conn *conn) { return conn->http.request.minor >= 1; }

/* Sends what conn->out holds, as far as the client takes it; the rest waits. False if the client is gone. */
static bool exchange_push(struct conn *conn)
{
    switch (output_resume(conn)) {
    case OUTPUT_SENT:
        buffer_reset(&conn->out, SCRATCH_SIZE);
        conn->sent = 0;
        if (conn->state != CONN_STREAMING) {
            conn_enter(conn, CONN_STREAMING);
            conn_watch(conn, EPOLLET); /* watch only for the end of the connection */
        }
        conn_count_buffers(conn);
        return !conn->gone;
    case OUTPUT_WAITING:
        conn_count_buffers(conn);
        if (conn->state != CONN_FLUSHING) {
            conn_enter(conn, CONN_FLUSHING);
            conn_watch(conn, EPOLLOUT);
            if (conn->host->released != NULL) {
                conn->host->released(conn->host);
            }
        }
        return !conn->gone;
    case OUTPUT_FAILED:
        break;
    }
    conn->gone = true;
    return false;
}

bool exchange_stream(struct conn *conn)
{
    if (conn->protocol != PROTOCOL_HTTP || conn->state != CONN_RUNNING ||
        slot_is_answered(&conn->host->slots, conn->slot)) {
        conn->gone = conn->protocol == PROTOCOL_HTTP;
        return false;
    }
    conn_check(conn);
    struct view head = http1_stream_head(exchange_is_chunked(conn));
    conn->keep_alive = false;
    conn->head_size = 0;
    conn->sent = 0;
    buffer_done(&conn->out);
    conn->out.limit = REPLY_LIMIT;
    if (buffer_append(&conn->out, head.data, head.size) != BUFFER_OK) {
        conn->gone = true;
        return false;
    }
    slot_set_chunked(&conn->host->slots, conn->slot, exchange_is_chunked(conn));
    conn->then = THEN_EVENT;
    conn_enter(conn, CONN_FLUSHING); /* exchange_push() changes it */
    return exchange_push(conn);
}

/* What the stream lacks after this event. */
static enum slot_then exchange_after_event(struct view name)
{
    if (view_is(name, "done")) {
        return THEN_END;
    }
    return view_is(name, "error") ? THEN_DONE : THEN_EVENT;
}

bool exchange_event(struct conn *conn, struct view name, struct view json)
{
    char text[HTTP1_EVENT_NAME_MAX + 1];
    char begin[HTTP1_EVENT_BEGIN_SIZE];
    if (conn->gone || slot_is_answered(&conn->host->slots, conn->slot)) {
        conn->gone = true;
        return false;
    }
    conn_check(conn);
    size_t name_size = name.size < HTTP1_EVENT_NAME_MAX ? name.size : HTTP1_EVENT_NAME_MAX;
    memcpy(text, name.data, name_size);
    text[name_size] = '\0';
    size_t begin_size = http1_event_begin(text, json.size, exchange_is_chunked(conn), begin);
    struct view end = http1_event_end(exchange_is_chunked(conn));
    size_t before = conn->out.size;
    if (buffer_append(&conn->out, begin, begin_size) != BUFFER_OK ||
        buffer_append(&conn->out, json.data, json.size) != BUFFER_OK ||
        buffer_append(&conn->out, end.data, end.size) != BUFFER_OK) {
        conn->out.size = before;
        if (log_pass(LOG_LEVEL_ERROR, "out_of_memory")) {
            log_error(EVENT_MEMORY_SHORT, "out_of_memory: no memory for an event of %zu bytes", json.size);
        }
        return false;
    }
    conn->then = exchange_after_event(name);
    if (conn->then == THEN_END) {
        exchange_note_outcome(conn, conn->tally.failed);
    }
    return exchange_push(conn);
}

size_t exchange_pending(const struct conn *conn) { return conn->out.size - conn->sent; }

bool exchange_flush(struct conn *conn)
{
    while (!conn->gone && exchange_pending(conn) > 0) { /* then its state is FLUSHING, which has a deadline */
        struct pollfd look = {.fd = conn->fd, .events = POLLOUT};
        int ready = poll(&look, 1, clock_timeout(clock_now(), conn->deadline));
        if (ready < 0 && errno == EINTR) {
            return true;
        }
        if (ready < 0 || slot_is_answered(&conn->host->slots, conn->slot)) {
            conn->gone = true;
        } else if (clock_now() >= conn->deadline) {
            output_log_unread(conn);
            conn->gone = true;
        } else if (ready > 0) {
            (void)exchange_push(conn);
        }
    }
    return !conn->gone;
}

/* Its outcome is decided, and it is the worker's to end and to count: false if the supervisor has ended it. A client
 * that went away has made it fail if the function did not. */
static bool exchange_decide_stream(struct conn *conn, bool complete)
{
    struct conn_host *host = conn->host;
    bool is_whole = complete && !conn->gone;
    if (host->config->board != NULL) {
        host->now = conn->tally.replied = clock_now();
    }
    conn_decide(conn, conn->tally.failed == 0 && !is_whole ? ERR_CONNECTION : conn->tally.failed);
    if (!slot_leave(&host->slots, conn->slot, SLOT_REPLYING)) {
        conn->tally.pending = 0;
        return false;
    }
    return true;
}

void exchange_stream_end(struct conn *conn, bool complete)
{
    struct view end = http1_stream_end(exchange_is_chunked(conn));
    const struct record record = conn->record;
    bool succeeded = !conn->has_failed;
    conn->stream_is_over = true;
    conn->then = THEN_CLOSED;
    bool is_ours = exchange_decide_stream(conn, complete);
    bool whole = is_ours && complete && !conn->gone && buffer_append(&conn->out, end.data, end.size) == BUFFER_OK &&
                 exchange_push(conn);
    if (conn->fd >= 0 && !whole) {
        conn_close(conn); /* the missing last chunk tells the client that it was cut */
    } else if (conn->fd >= 0 && exchange_pending(conn) == 0) {
        dispatch_finish(conn);
    }
    record_end(&record, succeeded);
    dispatch_release(conn);
}
