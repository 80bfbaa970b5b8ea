#include "server/fdstore.h"

#include "base/fd.h"
#include "server/rights.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union descriptors {
    char bytes[CMSG_SPACE(FDSTORE_GROUP * sizeof(int))];
    struct cmsghdr align;
};

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

int fdstore_put(const struct fdstore *fdstore, uint32_t slot, const struct fdstore_group *group)
{
    uint16_t slots[FDSTORE_GROUP];
    memcpy(slots, group->slots, sizeof slots);
    struct iovec part = {.iov_base = slots, .iov_len = group->count * sizeof slots[0]};
    union descriptors ancillary;
    memset(&ancillary, 0, sizeof ancillary);
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = CMSG_SPACE(group->count * sizeof(int))};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(group->count * sizeof(int));
    memcpy(CMSG_DATA(rights), group->fds, group->count * sizeof(int));
    ssize_t sent;
    do {
        sent = sendmsg(fdstore->send[slot], &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

void fdstore_drop(const struct fdstore *fdstore, uint32_t slot, uint32_t count)
{
    uint16_t slots[FDSTORE_GROUP];
    size_t left = count * sizeof slots[0];
    /* Without room for ancillary data the kernel closes the duplicates: one call instead of two. A byte left behind
     * would stand before the next group. */
    while (left > 0) {
        ssize_t got = recv(fdstore->receive[slot], slots, left, MSG_DONTWAIT);
        if (got > 0) {
            left -= (size_t)got;
        } else if (got == 0 || errno != EINTR) {
            return;
        }
    }
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

/* Closes them all. */
static void discard(struct fdstore_group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        fd_close(&group->fds[i]);
    }
    group->count = 0;
}

/* Leaves out what no worker of ours has put there. */
static void keep_connections(struct fdstore_group *group)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        if (group->slots[i] < SLOTS_MAX && fdstore_is_connection(group->fds[i]) && fd_raise(&group->fds[i]) == 0) {
            group->slots[kept] = group->slots[i];
            group->fds[kept++] = group->fds[i];
        } else {
            rights_close(&group->fds[i], 1);
        }
    }
    group->count = kept;
}

static int receive(int fd, struct fdstore_group *ret_group, int flags)
{
    *ret_group = (struct fdstore_group){.count = 0};
    struct iovec part = {.iov_base = ret_group->slots, .iov_len = sizeof ret_group->slots};
    union rights_space space;
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes};
    ssize_t got;
    do {
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    if (got == 0) {
        return -EAGAIN; /* every sending end is closed: nothing is stored */
    }
    int fds[RIGHTS_MAX];
    uint32_t count = rights_take(&header, fds);
    /* where descriptors ran out the last of them are missing, and the others are what they are */
    uint32_t missing = (header.msg_flags & MSG_CTRUNC) != 0 && count < FDSTORE_GROUP ? FDSTORE_GROUP - count : 0;
    size_t named = (size_t)got / sizeof ret_group->slots[0];
    if (count > FDSTORE_GROUP || named < count || named > count + missing) {
        rights_close(fds, count);
        return -EPROTO;
    }
    ret_group->count = count;
    memcpy(ret_group->fds, fds, count * sizeof fds[0]);
    keep_connections(ret_group);
    return ret_group->count > 0 ? 0 : -EPROTO;
}

int fdstore_take(int receive_end, struct fdstore_group *ret_group) { return receive(receive_end, ret_group, 0); }

int fdstore_peek(int receive_end, uint32_t slot)
{
    struct fdstore_group group;
    int connection = receive(receive_end, &group, MSG_PEEK);
    if (connection < 0) {
        return connection;
    }
    connection = -EAGAIN;
    for (uint32_t i = 0; i < group.count; i++) {
        if (group.slots[i] == slot && connection < 0) {
            connection = fd_take(&group.fds[i]);
        }
    }
    discard(&group);
    return connection;
}
