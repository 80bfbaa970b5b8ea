#include "server/output.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/outlet.h"
#include "server/slot.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

static struct view buffer_view(const struct buffer *buffer)
{
    return (struct view){(const char *)buffer->data, buffer->size};
}

/* One call for both parts. */
static ssize_t send_from(struct conn *conn, struct view body)
{
    struct iovec parts[2];
    size_t count = 0;
    size_t skip = 0;
    if (conn->sent < conn->head_size) {
        parts[count++] = (struct iovec){.iov_base = conn->head + conn->sent, .iov_len = conn->head_size - conn->sent};
    } else {
        skip = conn->sent - conn->head_size;
    }
    if (body.size > skip) {
        const char *from = body.data + skip;
        parts[count].iov_len = body.size - skip;
        memcpy(&parts[count++].iov_base, &from, sizeof from); /* the interface knows no const */
    }
    return outlet_send(conn->host->board, conn->slot, conn->then, conn->fd, parts, count);
}

enum output_step output_push(struct conn *conn, struct view body)
{
    size_t total = conn->head_size + body.size;
    while (conn->sent < total) {
        ssize_t sent = send_from(conn, body);
        if (sent >= 0) {
            conn->sent += (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return OUTPUT_WAITING;
        } else {
            tampered_check(&conn->host->tampered,
                           errno); /* not one byte of this is out: the supervisor sees that, and answers */
            return OUTPUT_FAILED;
        }
    }
    return OUTPUT_SENT;
}

enum output_step output_stream(struct conn *conn)
{
    if (!conn->stream_is_over && !slot_leave(conn, SLOT_PUSHING)) {
        return OUTPUT_FAILED;
    }
    enum output_step step = output_push(conn, buffer_view(&conn->out));
    if (!conn->stream_is_over) {
        slot_set(conn, SLOT_STREAMING);
    }
    return step;
}

void output_log_unread(const struct conn *conn)
{
    uint64_t limit = conn->host->write_timeout / CLOCK_MS;
    if (conn->state == CONN_FLUSHING) {
        log_client("server_error", "a stream has waited for its client for %llu ms in all (ASYA_WRITE_TIMEOUT)",
                   (unsigned long long)limit);
    } else {
        log_client("server_error",
                   "a reply was not read within %llu ms (ASYA_WRITE_TIMEOUT); %zu of %zu bytes were sent",
                   (unsigned long long)limit, conn->sent, conn->head_size + conn->out.size);
    }
}

static void client_gone(struct conn *conn)
{
    if (conn->seen == 0) {
        log_debug("a client connected and went away without a message");
    } else {
        log_client("connection_error", "the client went away before it had read its reply: %s", strerror(errno));
    }
    conn_close(conn);
}

/* As conn_finish() will have it. */
static enum slot_then after_reply(const struct conn *conn)
{
    if (!conn_is_kept(conn)) {
        return THEN_CLOSED;
    }
    return conn->in.size > conn->request_end ? THEN_TAKEN : THEN_UNREAD;
}

void output_reply(struct conn *conn, struct buffer *body)
{
    conn->sent = 0;
    conn->then = after_reply(conn);
    switch (output_push(conn, buffer_view(body))) {
    case OUTPUT_SENT: /* the common case: the buffer stays where it is */
        conn_finish(conn);
        return;
    case OUTPUT_FAILED:
        client_gone(conn);
        return;
    case OUTPUT_WAITING:
        break;
    }
    buffer_done(&conn->out);
    conn->out = *body;
    *body = buffer_make(body->limit);
    conn_enter(conn, CONN_WRITING);
    conn_watch(conn, EPOLLOUT);
}

void output_small(struct conn *conn, struct view bytes)
{
    conn->sent = 0;
    conn->head_size = 0;
    conn->then = after_reply(conn);
    if (output_push(conn, bytes) == OUTPUT_SENT) {
        conn_finish(conn);
    } else {
        client_gone(conn);
    }
}

static void resume_stream(struct conn *conn, enum output_step step)
{
    struct conn_host *host = conn->host;
    if (step == OUTPUT_FAILED) {
        conn->gone = true;
    }
    buffer_reset(&conn->out, SCRATCH_SIZE);
    conn->sent = 0;
    if (conn->stream_is_over) {
        if (step == OUTPUT_FAILED) {
            client_gone(conn);
        } else {
            conn_finish(conn);
        }
        return;
    }
    conn_enter(conn, CONN_STREAMING);
    conn_watch(conn, conn->gone ? 0 : EPOLLET);
    if (host->service->resume != NULL) {
        host->service->resume(host->service->context, conn);
    }
}

void output_resume(struct conn *conn)
{
    bool streams = conn->state == CONN_FLUSHING;
    enum output_step step = streams ? output_stream(conn) : output_push(conn, buffer_view(&conn->out));
    if (step == OUTPUT_WAITING) {
        return;
    }
    if (streams) {
        resume_stream(conn, step);
    } else if (step == OUTPUT_SENT) {
        conn_finish(conn);
    } else {
        client_gone(conn);
    }
}
