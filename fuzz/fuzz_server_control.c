/* control_receive: any packet with any descriptors is a whole message or refused, and costs no descriptor. */
#include "server/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { FDS_MAX = 253 };

static void send_packet(int fd, const unsigned char *bytes, size_t size, size_t fd_count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        struct cmsghdr align;
    } ancillary;
    unsigned char copy[256];
    memset(&ancillary, 0, sizeof ancillary);
    memcpy(copy, bytes, size);
    struct iovec part = {.iov_base = copy, .iov_len = size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = ancillary.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        for (size_t i = 0; i < fd_count; i++) {
            memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
        }
    }
    (void)sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The lowest free number: the same before and after if nothing leaked. */
static int lowest_free(void)
{
    int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

/* Packets: one byte for the size, one for the number of descriptors, then the bytes. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    int before = lowest_free();
    int supervisor;
    int worker;
    if (control_pair(&supervisor, &worker) != 0) {
        abort();
    }
    while (size >= 2) {
        size_t length = data[0] < size - 2 ? data[0] : size - 2;
        send_packet(worker, data + 2, length, data[1] <= FDS_MAX ? data[1] : 0);
        data += 2 + length;
        size -= 2 + length;
        struct control_message message;
        int fds[CONTROL_FDS_MAX];
        int status = control_receive(supervisor, &message, fds);
        if (status == 1) {
            if (message.count > CONTROL_FDS_MAX) {
                abort();
            }
            for (uint32_t i = 0; i < message.count; i++) {
                if (close(fds[i]) != 0) {
                    abort();
                }
            }
        } else if (status != 0 && status != -EPROTO && status != -EAGAIN) {
            abort();
        }
    }
    close(supervisor);
    close(worker);
    if (lowest_free() != before) {
        abort();
    }
    return 0;
}
