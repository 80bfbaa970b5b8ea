#include "server/intake.h"

#include "base/log.h"
#include "server/budget.h"
#include "server/http.h"
#include "server/slot.h"
#include "wire/detect.h"
#include "wire/framed.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { REQUESTS_A_TURN = 16 }; /* of one connection, before others get theirs */

enum progress {
    PROGRESS_AGAIN, /* there may be more to read */
    PROGRESS_WAIT,  /* all that has arrived is read */
    PROGRESS_PAUSE, /* there is no memory to read more */
    PROGRESS_ENDED, /* submitted, refused or closed */
};

void intake_begin(struct conn *conn)
{
    conn->protocol = conn->host->protocol;
    if (conn->served > 0) {
        conn->protocol = PROTOCOL_HTTP; /* the only one with a next request */
    }
    if (conn->protocol == PROTOCOL_HTTP) {
        http_begin(conn);
    } else {
        conn->raw = raw_make(conn->host->max_message);
    }
}

static void no_memory(struct conn *conn)
{
    struct error err;
    error_set(&err, ERR_MEMORY, 0, "no memory for a request of more than %zu bytes", conn->seen);
    conn_refuse(conn, &err);
}

/* What has arrived of the request is `message`; sets body_at, body_size and request_end where it is complete. */
static enum wire_step feed_framed(struct conn *conn, const unsigned char *message, size_t size, struct error *err)
{
    struct view body;
    enum wire_step step = framed_feed(conn->host->max_message, message, size, &body, err);
    if (step == WIRE_DONE) {
        conn->body_at = FRAMED_PREFIX_SIZE;
        conn->body_size = body.size;
        conn->request_end = size;
    }
    return step;
}

static enum wire_step feed_raw(struct conn *conn, const unsigned char *message, size_t size, struct error *err)
{
    enum wire_step step = raw_feed(&conn->raw, message, size, err);
    if (step == WIRE_DONE) {
        conn->body_at = 0;
        conn->body_size = conn->request_end = size;
    }
    return step;
}

static enum progress feed(struct conn *conn, unsigned char *message, size_t *size, bool drained)
{
    struct error err;
    enum wire_step step;
    conn->seen = *size;
    if (conn->protocol == PROTOCOL_AUTO) {
        conn->protocol = detect(PROTOCOL_AUTO, message[0]);
        slot_set_protocol(conn);
        if (conn->protocol == PROTOCOL_HTTP) {
            http_begin(conn);
        }
    }
    switch (conn->protocol) {
    case PROTOCOL_HTTP:
        step = http_feed(conn, message, size);
        if (step == WIRE_BAD) {
            return PROGRESS_ENDED; /* answered */
        }
        if (message == conn->in.data) {
            conn->in.size = *size; /* decoded in place it takes less */
        }
        if (step == WIRE_DONE) {
            conn_submit(conn, message, *size);
            return PROGRESS_ENDED;
        }
        return drained ? PROGRESS_WAIT : PROGRESS_AGAIN;
    case PROTOCOL_FRAMED:
        step = feed_framed(conn, message, *size, &err);
        break;
    default:
        step = feed_raw(conn, message, *size, &err);
        break;
    }
    if (step == WIRE_BAD) {
        conn_refuse(conn, &err);
        return PROGRESS_ENDED;
    }
    /* of bare JSON, what has arrived behind the value shall be seen too */
    if (step == WIRE_DONE && (drained || conn->protocol == PROTOCOL_FRAMED)) {
        conn_submit(conn, message, *size);
        return PROGRESS_ENDED;
    }
    return drained ? PROGRESS_WAIT : PROGRESS_AGAIN;
}

void intake_keep_rest(struct conn *conn, const unsigned char *message, size_t size)
{
    if (conn->in.size > 0) {
        return; /* it is in place */
    }
    if (size > conn->request_end && conn->protocol == PROTOCOL_HTTP &&
        buffer_append(&conn->in, message + conn->request_end, size - conn->request_end) != BUFFER_OK) {
        log_error("out_of_memory: no memory for a further request on a connection");
        conn->keep_alive = false;
    }
    conn->request_end = 0;
}

/* `message` is in the scratch buffer: keeps it for the next read. */
static bool keep(struct conn *conn, const unsigned char *message, size_t size)
{
    if (buffer_append(&conn->in, message, size) != BUFFER_OK) {
        no_memory(conn);
        return false;
    }
    budget_count(conn);
    return true;
}

/* The client closed or half-closed. `message` is all it sent of this request. */
static void end_of_input(struct conn *conn, const unsigned char *message, size_t size)
{
    struct error err;
    conn->peer_done = true;
    if (conn_is_hung_up(conn) || (conn->served > 0 && size == 0)) {
        if (size > 0) {
            log_client("connection_error", "the client went away after %zu bytes, before its message was complete",
                       size);
        } else {
            log_debug("a client connected and went away without a%s message", conn->served > 0 ? " further" : "");
        }
        conn_close(conn);
        return;
    }
    switch (conn->protocol) {
    case PROTOCOL_HTTP:
        if (conn->parting) {
            error_set(&err, ERR_SERVER, size,
                      "the connection was being closed while this request arrived; it was not run, send it again");
            break;
        }
        error_set(&err, size > 0 ? ERR_CONNECTION : ERR_EMPTY, size, "the request ended after %zu bytes", size);
        break;
    case PROTOCOL_FRAMED:
        framed_end(message, size, &err);
        break;
    default:
        if (raw_end(&conn->raw, message, size, &err) == WIRE_DONE) {
            conn->body_at = 0;
            conn->body_size = conn->request_end = size;
            conn_submit(conn, message, size);
            return;
        }
        break;
    }
    conn_refuse(conn, &err);
}

static void receive_failed(struct conn *conn)
{
    tampered_check(&conn->host->tampered, errno);
    if (conn->seen > 0) {
        log_client("connection_error", "reading a request failed after %zu bytes: %s", conn->seen, strerror(errno));
    } else {
        log_debug("a client went away without a message: %s", strerror(errno));
    }
    conn_close(conn);
}

/* Room for the next read into conn->in: as much again as has arrived, a whole read of a large request, never more than
 * the limit needs. PROGRESS_AGAIN if there is. */
static enum progress make_room(struct conn *conn)
{
    size_t size = conn->in.size;
    size_t more = size < BUDGET_FREE ? BUDGET_FREE : size < SCRATCH_SIZE ? size : SCRATCH_SIZE;
    more = more < conn->in.limit - size ? more : conn->in.limit - size;
    size_t room = budget_admit(conn, more);
    if (room == 0 && more > 0) {
        return PROGRESS_PAUSE;
    }
    if (buffer_reserve(&conn->in, room) != BUFFER_OK) {
        no_memory(conn);
        return PROGRESS_ENDED;
    }
    budget_count(conn);
    return PROGRESS_AGAIN;
}

/* One read. Small requests are answered from the scratch buffer, without an allocation. */
static enum progress read_once(struct conn *conn)
{
    bool first = conn->in.size == 0;
    if (conn->seen == 0 && !slot_claim(conn)) {
        conn_close(conn);
        return PROGRESS_ENDED;
    }
    enum progress room_made = first ? PROGRESS_AGAIN : make_room(conn);
    if (room_made != PROGRESS_AGAIN) {
        return room_made;
    }
    unsigned char *message = first ? conn->host->scratch : conn->in.data;
    size_t room = first ? budget_first_read(conn->host) : conn->in.capacity - conn->in.size;
    ssize_t got = slot_receive(conn, message + conn->in.size, room);
    if (got < 0) {
        if (errno == EINTR) {
            return PROGRESS_AGAIN;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (conn->seen == 0) {
                slot_set(conn, SLOT_WAITING);
            }
            return PROGRESS_WAIT;
        }
        receive_failed(conn);
        return PROGRESS_ENDED;
    }
    size_t size = conn->in.size + (size_t)got;
    if (got == 0) {
        end_of_input(conn, message, size);
        return PROGRESS_ENDED;
    }
    if (conn->seen == 0 && conn->served > 0) {
        conn_enter(conn, CONN_READING); /* the time for this request begins now */
    }
    if (!first) {
        conn->in.size = size;
        budget_note_progress(conn, (size_t)got);
    }
    enum progress progress = feed(conn, message, &size, (size_t)got < room);
    if (progress != PROGRESS_ENDED && first && !keep(conn, message, size)) {
        return PROGRESS_ENDED;
    }
    return progress;
}

/* The bytes that came together with the request before. */
static enum progress take_rest(struct conn *conn)
{
    size_t size = conn->in.size;
    return feed(conn, conn->in.data, &size, false);
}

static bool is_reading(const struct conn *conn)
{
    return conn->fd >= 0 && (conn->state == CONN_READING || conn->state == CONN_REJECTING);
}

void intake_run(struct conn *conn)
{
    uint32_t before = conn->served;
    while (is_reading(conn)) {
        if (conn->served > before && conn->in.size == 0 && !conn->host->answering) {
            conn_watch(conn, EPOLLIN); /* a client that has just been answered has hardly sent the next one yet */
            return;
        }
        if (conn->served == before + REQUESTS_A_TURN || conn->host->answering) {
            conn_enter(conn, CONN_YIELDING);
            conn_watch(conn, 0);
            return;
        }
        bool rest = conn->in.size > 0 && conn->seen == 0;
        enum progress progress = rest ? take_rest(conn) : read_once(conn);
        if (progress == PROGRESS_PAUSE) {
            budget_pause(conn);
            return;
        }
        if (progress != PROGRESS_WAIT) {
            continue;
        }
        if (conn->protocol != PROTOCOL_HTTP && conn->protocol != PROTOCOL_FRAMED) {
            if (conn->raw.done) { /* complete before, and nothing more has arrived with it */
                conn_submit(conn, conn->in.data, conn->in.size);
                continue;
            }
            if (conn->raw.bad && conn->state == CONN_READING) {
                conn_enter(conn, CONN_REJECTING);
            }
        }
        conn_watch(conn, EPOLLIN);
        return;
    }
}

void intake_judge(struct conn *conn)
{
    struct error err;
    if (raw_end(&conn->raw, conn->in.data, conn->in.size, &err) == WIRE_BAD) {
        conn_refuse(conn, &err);
    }
}
