#include "server/control.h"

#include "base/fd.h"
#include "server/rights.h"

#include <errno.h>
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

int control_send(int fd, enum control_type type, const int *fds, uint32_t count)
{
    return control_send_value(fd, type, 0, fds, count);
}

int control_send_value(int fd, enum control_type type, int32_t value, const int *fds, uint32_t count)
{
    struct control_message message = {.type = type, .count = count, .value = value};
    if (count > CONTROL_FDS_MAX) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        message.numbers[i] = fds[i];
    }
    return rights_send(fd, &message, sizeof message, fds, count);
}

int control_receive(int fd, struct control_message *ret_message, int ret_fds[CONTROL_FDS_MAX])
{
    struct control_message message;
    struct rights_message with;
    ssize_t got = rights_receive_message(fd, &message, sizeof message, 0, &with);
    if (got < 0) {
        return (int)got;
    }
    if (got == 0 && with.count == 0) {
        return 0;
    }
    if (got != (ssize_t)sizeof message || with.is_short || message.count > CONTROL_FDS_MAX ||
        (with.is_cut ? message.count <= with.count : message.count != with.count)) {
        rights_close(with.fds, with.count);
        return -EPROTO;
    }
    for (uint32_t i = 0; i < message.count; i++) {
        ret_fds[i] = i < with.count ? with.fds[i] : -1;
        if (fd_raise(&ret_fds[i]) < 0) {
            fd_close(&ret_fds[i]);
        }
    }
    *ret_message = message;
    return 1;
}
