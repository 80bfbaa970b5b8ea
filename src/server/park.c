#include "server/park.h"

#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union one_descriptor {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

int park_grow(struct park *park, uint32_t more)
{
    for (; more > 0 && park->count < SLOTS_MAX; more--) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
            return -errno;
        }
        park->send[park->count] = pair[0];
        park->receive[park->count] = pair[1];
        park->count++;
    }
    return 0;
}

void park_done(struct park *park) { park_trim(park, 0); }

void park_trim(struct park *park, uint32_t kept)
{
    while (park->count > kept) {
        park->count--;
        fd_close(&park->send[park->count]);
        fd_close(&park->receive[park->count]);
    }
}

int park_put(const struct park *park, uint32_t slot, int connection)
{
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    union one_descriptor ancillary;
    memset(&ancillary, 0, sizeof ancillary);
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &connection, sizeof connection);
    ssize_t sent;
    do {
        sent = sendmsg(park->send[slot], &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

void park_drop(const struct park *park, uint32_t slot)
{
    char byte;
    /* without room for ancillary data the kernel closes the duplicate: one call instead of two */
    while (recv(park->receive[slot], &byte, 1, MSG_DONTWAIT) < 0 && errno == EINTR) {
    }
}

bool park_is_connection(int fd)
{
    int value = 0;
    socklen_t size = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &size) != 0 || value != SOCK_STREAM) {
        return false;
    }
    size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &size) == 0 && value == AF_UNIX;
}

static int receive(int fd, int flags)
{
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    union one_descriptor ancillary;
    /* room for exactly one: the kernel closes what does not fit, and says so by MSG_CTRUNC */
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t got;
    do {
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    if (got == 0) {
        return -EAGAIN; /* every sending end is closed: nothing is parked */
    }
    FD_SCOPED int connection = -1;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (rights == NULL || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS ||
        rights->cmsg_len != CMSG_LEN(sizeof(int))) {
        return -EPROTO;
    }
    memcpy(&connection, CMSG_DATA(rights), sizeof connection);
    if ((header.msg_flags & MSG_CTRUNC) != 0) {
        return -EPROTO;
    }
    if (!park_is_connection(connection)) {
        return -EPROTO;
    }
    return fd_take(&connection);
}

int park_take(int receive_end) { return receive(receive_end, 0); }

int park_peek(int receive_end) { return receive(receive_end, MSG_PEEK); }
