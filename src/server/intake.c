/*
 * Where the bytes of a request are. The first read of a request goes into the scratch buffer, which all connections of
 * the worker share. A request that is complete then is passed on from there, without an allocation or a copy. If it is
 * not complete, what has arrived is copied to conn->in, and later reads append to that, as far as the budget allows
 * (budget.h). So a message in the scratch buffer is valid only until the next read of any connection.
 */
#include "server/intake.h"

#include "base/log.h"
#include "server/budget.h"
#include "server/http.h"
#include "wire/detect.h"
#include "wire/framed.h"

#include <errno.h>
#include <string.h>

void intake_begin(struct conn *conn)
{
    conn->protocol = conn->host->config->protocol;
    if (conn->served > 0) {
        conn->protocol = PROTOCOL_HTTP; /* only HTTP has a next request */
    }
    if (conn->protocol == PROTOCOL_HTTP) {
        http_begin(conn);
    } else {
        conn->raw = raw_make(conn->host->config->max_message);
    }
}

/* ---- bytes in their protocol ------------------------------------------------------------------------------------ */

static enum verdict intake_refuse_no_memory(const struct conn *conn, struct verdict_details *details)
{
    details->status = 0;
    error_set(&details->err, ERR_MEMORY, 0, "no memory for a request of more than %zu bytes", conn->seen);
    return VERDICT_REFUSED;
}

/* A request without a head: `size` bytes of JSON at offset `body_at`. */
static enum verdict intake_complete(struct conn *conn, size_t body_at, size_t size)
{
    conn->body_at = body_at;
    conn->body_size = size;
    conn->request_end = body_at + size;
    return VERDICT_REQUEST;
}

static enum verdict intake_feed_framed(struct conn *conn, const unsigned char *message, size_t size,
                                       struct verdict_details *details)
{
    struct view body;
    switch (framed_feed(conn->host->config->max_message, message, size, &body, &details->err)) {
    case WIRE_DONE:
        conn->request_end = size;
        conn->body_at = FRAMED_PREFIX_SIZE;
        conn->body_size = body.size;
        return VERDICT_REQUEST;
    case WIRE_BAD:
        return VERDICT_REFUSED;
    default:
        return VERDICT_MORE;
    }
}

/* A complete JSON value counts as a request only once nothing more has arrived: anything behind the value makes it
 * invalid, and must be seen. */
static enum verdict intake_feed_raw(struct conn *conn, const unsigned char *message, size_t size, bool drained,
                                    struct verdict_details *details)
{
    switch (raw_feed(&conn->raw, message, size, &details->err)) {
    case WIRE_DONE:
        return drained ? intake_complete(conn, 0, size) : VERDICT_MORE;
    case WIRE_BAD:
        return VERDICT_REFUSED;
    default:
        return VERDICT_MORE;
    }
}

/* `*size` bytes of the request have arrived at `message`. `drained`: there is nothing more to read now. */
static enum verdict intake_feed(struct conn *conn, unsigned char *message, size_t *size, bool drained,
                                struct verdict_details *details)
{
    enum verdict verdict;
    if (conn->seen == 0 && conn->tally.began < conn->host->looked) {
        conn->tally.began = conn->host->looked; /* it was there at the end of the wait for it */
    }
    conn->seen = *size;
    details->status = 0;
    if (conn->protocol == PROTOCOL_AUTO) {
        conn->protocol = detect(PROTOCOL_AUTO, message[0]);
        slot_set_protocol(&conn->host->slots, conn->slot, conn->protocol);
        if (conn->protocol == PROTOCOL_HTTP) {
            http_begin(conn);
        }
    }
    switch (conn->protocol) {
    case PROTOCOL_HTTP:
        verdict = http_feed(conn, message, size, details);
        if (message == conn->in.data) {
            conn->in.size = *size; /* chunks are decoded in place, which takes less room */
        }
        break;
    case PROTOCOL_FRAMED:
        verdict = intake_feed_framed(conn, message, *size, details);
        break;
    default:
        verdict = intake_feed_raw(conn, message, *size, drained, details);
        break;
    }
    details->message = message;
    details->size = *size;
    return verdict == VERDICT_MORE && drained ? VERDICT_WAIT : verdict;
}

/* ---- the end of what a client sends ----------------------------------------------------------------------------- */

static enum verdict intake_note_gone(const struct conn *conn, size_t size)
{
    if (size > 0) {
        log_client(EVENT_CLIENT_GONE, "connection_error",
                   "the client went away after %zu bytes, before its message was complete", size);
    } else {
        log_debug(EVENT_CLIENT_GONE, "a client connected and went away without a%s message",
                  conn->served > 0 ? " further" : "");
    }
    return VERDICT_GONE;
}

/* The client closed or half-closed the connection. `message` is all that it sent of this request. */
static enum verdict intake_end(struct conn *conn, unsigned char *message, size_t size, struct verdict_details *details)
{
    struct error *err = &details->err;
    details->message = message;
    details->size = size;
    details->status = 0;
    conn->peer_done = true;
    if (conn_is_hung_up(conn) || (conn->served > 0 && size == 0)) {
        return intake_note_gone(conn, size);
    }
    switch (conn->protocol) {
    case PROTOCOL_HTTP:
        if (conn->parting) {
            error_set(err, ERR_SERVER, size,
                      "the connection was being closed while this request arrived; it was not run, send it again");
        } else {
            error_set(err, size > 0 ? ERR_CONNECTION : ERR_EMPTY, size, "the request ended after %zu bytes%s", size,
                      http_is_word(message, size) ? ": " HTTP_WORD_HINT : "");
        }
        return VERDICT_REFUSED;
    case PROTOCOL_FRAMED:
        framed_end(message, size, err);
        return VERDICT_REFUSED;
    default:
        return raw_end(&conn->raw, message, size, err) == WIRE_DONE ? intake_complete(conn, 0, size) : VERDICT_REFUSED;
    }
}

static enum verdict intake_receive_failed(const struct conn *conn, int error)
{
    tampered_check_read(&conn->host->tampered, error);
    if (conn->seen > 0) {
        log_client(EVENT_CLIENT_GONE, "connection_error", "reading a request failed after %zu bytes: %s", conn->seen,
                   strerror(error));
    } else {
        log_debug(EVENT_CLIENT_GONE, "a client went away without a message: %s", strerror(error));
    }
    return VERDICT_GONE;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Makes room for the next read in conn->in: as much as has arrived so far, at most one read of SCRATCH_SIZE, and never
 * more than the limit allows. Returns MORE if there is room. */
static enum verdict intake_make_room(struct conn *conn, struct verdict_details *details)
{
    size_t size = conn->in.size;
    if (size >= SCRATCH_SIZE) {
        stock_take(&conn->host->stock, &conn->in);
    }
    size_t more = size < BUDGET_FREE ? BUDGET_FREE : size < SCRATCH_SIZE ? size : SCRATCH_SIZE;
    more = more < conn->in.limit - size ? more : conn->in.limit - size;
    size_t room = budget_admit(conn, more);
    if (room == 0 && more > 0) {
        return VERDICT_PAUSE;
    }
    if (buffer_reserve(&conn->in, room) != BUFFER_OK) {
        return intake_refuse_no_memory(conn, details);
    }
    conn_count_buffers(conn);
    return VERDICT_MORE;
}

/* The request in the scratch buffer is not complete: copies it to conn->in for the next read. */
static bool intake_keep(struct conn *conn, const unsigned char *message, size_t size)
{
    if (buffer_append(&conn->in, message, size) != BUFFER_OK) {
        return false;
    }
    conn_count_buffers(conn);
    return true;
}

/* `got` bytes were read, behind those of the request that had arrived before. */
static enum verdict intake_take(struct conn *conn, unsigned char *message, size_t got, bool drained,
                                struct verdict_details *details)
{
    bool first = conn->in.size == 0;
    size_t size = conn->in.size + got;
    if (conn_is_idle(conn)) {
        conn_enter(conn, CONN_READING); /* the time for this request begins now */
    }
    if (!first) {
        conn->in.size = size;
        budget_note_progress(conn, got);
    }
    enum verdict verdict = intake_feed(conn, message, &size, drained, details);
    bool goes_on = verdict == VERDICT_MORE || verdict == VERDICT_WAIT;
    return goes_on && first && !intake_keep(conn, message, size) ? intake_refuse_no_memory(conn, details) : verdict;
}

static enum verdict intake_read(struct conn *conn, struct verdict_details *details)
{
    const struct conn_host *host = conn->host;
    bool first = conn->in.size == 0;
    if (conn->seen == 0 && !slot_claim(&host->slots, conn->slot)) {
        return VERDICT_GONE; /* the supervisor has taken the connection */
    }
    enum verdict room_made = first ? VERDICT_MORE : intake_make_room(conn, details);
    if (room_made != VERDICT_MORE) {
        return room_made;
    }
    unsigned char *message = first ? host->scratch : conn->in.data;
    size_t room = first ? budget_first_read(host) : conn->in.capacity - conn->in.size;
    ssize_t got = slot_receive(&host->slots, conn->slot, conn->fd, conn->seen == 0, message + conn->in.size, room);
    if (got > 0) {
        if (host->config->board != NULL) {
            tally_add(&host->config->board->tally.counts.received, (uint64_t)got);
        }
        return intake_take(conn, message, (size_t)got, (size_t)got < room, details);
    }
    if (got == 0) {
        return intake_end(conn, message, conn->in.size, details);
    }
    if (errno == EINTR) {
        return VERDICT_MORE;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        return intake_receive_failed(conn, errno);
    }
    if (conn->events != 0) {
        conn_check(conn); /* epoll has reported the connection as readable, and would do so for ever */
    }
    if (conn->seen == 0) {
        slot_set(&host->slots, conn->slot, SLOT_WAITING);
    }
    return VERDICT_WAIT;
}

/* All that has arrived of bare JSON was read, and nothing more is there. */
static enum verdict intake_look_at_raw(struct conn *conn, struct verdict_details *details)
{
    if (conn->raw.done) { /* it was complete before the last read, which found nothing behind it */
        details->message = conn->in.data;
        details->size = conn->in.size;
        return intake_complete(conn, 0, conn->in.size);
    }
    if (conn->raw.bad && conn->state == CONN_READING) {
        conn_enter(conn, CONN_REJECTING);
    }
    return VERDICT_WAIT;
}

enum verdict intake_next(struct conn *conn, struct verdict_details *ret_details)
{
    enum verdict verdict;
    do {
        size_t rest = conn->seen == 0 ? conn->in.size : 0; /* it arrived together with the request before */
        verdict =
            rest > 0 ? intake_feed(conn, conn->in.data, &rest, false, ret_details) : intake_read(conn, ret_details);
    } while (verdict == VERDICT_MORE);
    bool is_raw = conn->protocol != PROTOCOL_HTTP && conn->protocol != PROTOCOL_FRAMED;
    return verdict == VERDICT_WAIT && is_raw ? intake_look_at_raw(conn, ret_details) : verdict;
}

enum verdict intake_judge(struct conn *conn, struct verdict_details *ret_details)
{
    ret_details->status = 0;
    return raw_end(&conn->raw, conn->in.data, conn->in.size, &ret_details->err) == WIRE_BAD ? VERDICT_REFUSED
                                                                                            : VERDICT_WAIT;
}

void intake_keep_rest(struct conn *conn, const struct verdict_details *details)
{
    if (conn->in.size > 0) {
        return; /* conn->in holds it already */
    }
    if (details->size > conn->request_end && conn->protocol == PROTOCOL_HTTP &&
        buffer_append(&conn->in, details->message + conn->request_end, details->size - conn->request_end) !=
            BUFFER_OK) {
        if (log_pass(LOG_LEVEL_ERROR, "out_of_memory")) {
            log_error(EVENT_MEMORY_SHORT, "out_of_memory: no memory for a further request on a connection");
        }
        conn->keep_alive = false;
    }
    conn->request_end = 0;
}
