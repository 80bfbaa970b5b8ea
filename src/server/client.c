#include "server/client.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/options.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { READ_STEP = 512 };

static enum client_outcome client_fail(struct error *err, const char *what, const char *path)
{
    error_set(err, ERR_CONNECTION, 0, "%s %s: %s", what, path, strerror(errno));
    return CLIENT_FAILED;
}

/* Waits for `events`. Returns false when the deadline passes first. */
static bool client_wait_for(int fd, short events, uint64_t deadline)
{
    for (;;) {
        uint64_t now = clock_now();
        struct pollfd polled = {.fd = fd, .events = events};
        int ready = deadline > now ? poll(&polled, 1, clock_timeout(now, deadline)) : 0;
        if (ready > 0) {
            return true;
        }
        if (deadline <= now) {
            return false;
        }
    }
}

/* False with errno; EAGAIN if the deadline passed first. */
static bool client_send_all(int fd, struct view request, uint64_t deadline)
{
    while (request.size > 0) {
        ssize_t sent = send(fd, request.data, request.size, MSG_NOSIGNAL);
        if (sent >= 0) {
            request.data += sent;
            request.size -= (size_t)sent;
        } else if (errno != EINTR && (errno != EAGAIN || !client_wait_for(fd, POLLOUT, deadline))) {
            return false;
        }
    }
    return true;
}

static enum client_outcome client_read_answer(int fd, const char *path, uint64_t deadline, struct buffer *answer,
                                              struct error *err)
{
    while (answer->size < answer->limit) {
        size_t room = answer->limit - answer->size < READ_STEP ? answer->limit - answer->size : READ_STEP;
        if (buffer_reserve(answer, room) != BUFFER_OK) {
            errno = ENOMEM;
            return client_fail(err, "cannot read from", path);
        }
        ssize_t got = recv(fd, answer->data + answer->size, room, 0);
        if (got == 0) {
            return answer->size > 0 ? CLIENT_ANSWERED : CLIENT_CLOSED;
        }
        if (got > 0) {
            answer->size += (size_t)got;
        } else if (errno == EAGAIN) {
            if (!client_wait_for(fd, POLLIN, deadline)) {
                return answer->size > 0 ? CLIENT_ANSWERED : CLIENT_SILENT;
            }
        } else if (errno != EINTR) {
            return answer->size > 0 ? CLIENT_ANSWERED : client_fail(err, "cannot read from", path);
        }
    }
    return CLIENT_ANSWERED;
}

enum client_outcome client_exchange(const char *path, struct view request, bool half_close, uint64_t deadline,
                                    struct buffer *answer, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size > SOCKET_PATH_MAX) {
        errno = ENAMETOOLONG;
        return client_fail(err, "cannot connect to", path);
    }
    memcpy(address.sun_path, path, size);
    FD_SCOPED int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return client_fail(err, "cannot make a socket to reach", path);
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        /* EAGAIN: the backlog is full, so a runtime listens, but has no time */
        return errno == EAGAIN ? CLIENT_SILENT : client_fail(err, "cannot connect to", path);
    }
    if (!client_send_all(fd, request, deadline)) {
        if (errno == EAGAIN) {
            return CLIENT_SILENT;
        }
        if (errno != EPIPE) { /* EPIPE: it answered before all was sent */
            return client_fail(err, "cannot send to", path);
        }
    }
    if (half_close && shutdown(fd, SHUT_WR) != 0 && errno != ENOTCONN) { /* ENOTCONN: it has closed already */
        return client_fail(err, "cannot half-close the connection to", path);
    }
    return client_read_answer(fd, path, deadline, answer, err);
}
