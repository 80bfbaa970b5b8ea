#include "server/fdstore.h"

#include "base/fd.h"
#include "server/rights.h"

#include <errno.h>
#include <sys/socket.h>

int fdstore_grow(struct fdstore *fdstore, uint32_t more)
{
    for (; more > 0 && fdstore->count < SLOTS_MAX; more--) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
            return -errno;
        }
        fdstore->send[fdstore->count] = pair[0];
        fdstore->receive[fdstore->count++] = pair[1];
        int status = fd_raise(&fdstore->send[fdstore->count - 1]);
        if (status == 0) {
            status = fd_raise(&fdstore->receive[fdstore->count - 1]);
        }
        if (status < 0) {
            fdstore_trim(fdstore, fdstore->count - 1);
            return status;
        }
    }
    return 0;
}

void fdstore_done(struct fdstore *fdstore) { fdstore_trim(fdstore, 0); }

void fdstore_trim(struct fdstore *fdstore, uint32_t kept)
{
    while (fdstore->count > kept) {
        fdstore->count--;
        fd_close(&fdstore->send[fdstore->count]);
        fd_close(&fdstore->receive[fdstore->count]);
    }
}

int fdstore_put(const struct fdstore *fdstore, uint32_t entry, int connection)
{
    char mark = 0; /* a message must have at least one byte */
    return rights_send(fdstore->send[entry], &mark, sizeof mark, &connection, 1);
}

int fdstore_drop(const struct fdstore *fdstore, uint32_t entry)
{
    char mark;
    ssize_t got;
    /* Given no room for ancillary data, the kernel itself closes the duplicate: one call instead of two. */
    do {
        got = recv(fdstore->receive[entry], &mark, sizeof mark, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : 0;
}

bool fdstore_is_connection(int fd)
{
    int value = 0;
    socklen_t size = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &size) != 0 || value != SOCK_STREAM) {
        return false;
    }
    size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &size) == 0 && value == AF_UNIX;
}

static int fdstore_receive(int fd, int flags)
{
    char mark;
    struct rights_message message;
    ssize_t got = rights_receive_message(fd, &mark, sizeof mark, flags, &message);
    if (got < 0) {
        return (int)got;
    }
    if (got == 0 && message.count == 0) {
        return -EAGAIN; /* all sending ends are closed, so nothing is stored */
    }
    if (message.count != 1 || !fdstore_is_connection(message.fds[0]) || fd_raise(&message.fds[0]) < 0) {
        rights_close(message.fds, message.count); /* the function wrote it: our workers send exactly one connection */
        return -EPROTO;
    }
    return message.fds[0];
}

int fdstore_take(int receive_end) { return fdstore_receive(receive_end, 0); }

int fdstore_peek(int receive_end) { return fdstore_receive(receive_end, MSG_PEEK); }
