#include "server/output.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/outlet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Sends head and body with one system call. */
static ssize_t output_send(struct conn *conn, struct view body)
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
        memcpy(&parts[count++].iov_base, &from, sizeof from); /* struct iovec has no const */
    }
    return outlet_send(conn->host->config->board, conn->slot, conn->then, conn->fd, parts, count);
}

enum output_step output_push(struct conn *conn, struct view body)
{
    size_t total = conn->head_size + body.size;
    while (conn->sent < total) {
        ssize_t sent = output_send(conn, body);
        if (sent >= 0) {
            conn->sent += (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return OUTPUT_WAITING;
        } else {
            tampered_check(&conn->host->tampered,
                           errno); /* no byte of this call was sent: the supervisor sees that, and answers */
            return OUTPUT_FAILED;
        }
    }
    return OUTPUT_SENT;
}

enum output_step output_resume(struct conn *conn)
{
    const struct slots *slots = &conn->host->slots;
    bool is_shared = conn_is_in_service(conn); /* the supervisor may end a stream, but only between two sends */
    if (is_shared && !slot_leave(slots, conn->slot, SLOT_PUSHING)) {
        return OUTPUT_FAILED;
    }
    enum output_step step = output_push(conn, (struct view){(const char *)conn->out.data, conn->out.size});
    if (is_shared) {
        slot_set(slots, conn->slot, SLOT_STREAMING);
    }
    return step;
}

void output_log_unread(const struct conn *conn)
{
    uint64_t limit = conn->host->config->write_timeout / CLOCK_MS;
    if (conn->state == CONN_FLUSHING) {
        log_client(EVENT_REPLY_UNSENT, "server_error",
                   "a stream has waited for its client for %llu ms in all (ASYA_WRITE_TIMEOUT)",
                   (unsigned long long)limit);
    } else {
        log_client(EVENT_REPLY_UNSENT, "server_error",
                   "a reply was not read within %llu ms (ASYA_WRITE_TIMEOUT); %zu of %zu bytes were sent",
                   (unsigned long long)limit, conn->sent, conn->head_size + conn->out.size);
    }
}
