#include "server/control.h"

#include "base/fd.h"
#include "server/rights.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

int control_pair(int *ret_supervisor, int *ret_worker)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return -errno;
    }
    *ret_supervisor = pair[0];
    *ret_worker = pair[1];
    return 0;
}

union ancillary {
    char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS_MAX)];
    struct cmsghdr align;
};

int control_send(int fd, enum control_type type, const int *fds, uint32_t count)
{
    struct control_message message = {.type = type, .count = count};
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    union ancillary ancillary;
    if (count > CONTROL_FDS_MAX) {
        return -EINVAL;
    }
    if (count > 0) {
        memcpy(message.numbers, fds, sizeof(int) * count);
        memset(&ancillary, 0, sizeof ancillary);
        header.msg_control = ancillary.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * count);
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int control_receive(int fd, struct control_message *ret_message, int ret_fds[CONTROL_FDS_MAX])
{
    struct control_message message;
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    union rights_space space;
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes};
    ssize_t got;
    do {
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    int fds[RIGHTS_MAX];
    uint32_t count = rights_take(&header, fds);
    if (got == 0 && count == 0) {
        return 0;
    }
    bool is_cut = (header.msg_flags & MSG_CTRUNC) != 0;
    if (got != (ssize_t)sizeof message || (header.msg_flags & MSG_TRUNC) != 0 || message.count > CONTROL_FDS_MAX ||
        (is_cut ? message.count <= count : message.count != count)) {
        rights_close(fds, count);
        return -EPROTO;
    }
    memcpy(ret_fds, fds, count * sizeof fds[0]);
    for (uint32_t i = 0; i < message.count; i++) {
        if (i >= count) {
            ret_fds[i] = -1;
        } else if (fd_raise(&ret_fds[i]) < 0) {
            fd_close(&ret_fds[i]);
        }
    }
    *ret_message = message;
    return 1;
}
