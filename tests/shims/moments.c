/*
 * A process that stands still at a moment of a test's choice, so that it can be killed there. The file that
 * SHIM_MOMENTS names holds three numbers of eight bytes: how many moments of the kind to wait for (0: none), the
 * kind, and, written here, the process that stands still until that is 0 again. Connections alone are looked at, not
 * the runtime's channels; a peek is the supervisor's, which so gets a connection out of a living worker's fdstore.
 */
#include "next.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind {
    BEFORE_SEND = 1,
    BEHIND_SEND,
    BEFORE_READ,
    BEHIND_READ,
    BEHIND_EMPTY_READ,
    BEHIND_ACCEPT,
    BEHIND_PEEK,
    BEHIND_WAIT,
    BEHIND_TAKE,
    BEFORE_EVENTFD
};

enum { KEPT_ALIVE = 9 }; /* CONTROL_KEPT_ALIVE: the first word of a message that hands on such a connection */

static struct {
    _Atomic int64_t count;
    _Atomic int64_t kind;
    _Atomic int64_t process;
} * wanted;

__attribute__((constructor)) static void map(void)
{
    const char *path = getenv("SHIM_MOMENTS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = mmap(NULL, sizeof *wanted, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) { /* or the test would show nothing */
        abort();
    }
    wanted = page;
    (void)close(fd);
}

static void moment(enum kind kind)
{
    if (wanted->kind == (int64_t)kind && wanted->count > 0 && atomic_fetch_sub(&wanted->count, 1) == 1) {
        wanted->process = (int64_t)getpid();
        while (wanted->process != 0) {
            (void)poll(NULL, 0, 1);
        }
    }
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    struct arguments arguments = arguments_take(list);
    va_end(list);
    if (number == SYS_sendmmsg) {
        moment(BEFORE_SEND);
    }
    long result = next_call(number, &arguments);
    if (number == SYS_sendmmsg) {
        moment(BEHIND_SEND);
    }
    return result;
}

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    bool is_read = wanted->count > 0 && (flags & MSG_PEEK) == 0 && size > 16; /* not what empties an fdstore entry */
    if (is_read) {
        moment(BEFORE_READ);
    }
    ssize_t got = (ssize_t)next_syscall()(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL);
    if (is_read) {
        moment(got > 0 ? BEHIND_READ : BEHIND_EMPTY_READ);
    }
    return got;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    bool is_read = wanted->count > 0 && (flags & MSG_PEEK) == 0 && is_stream(fd);
    if (is_read) {
        moment(BEFORE_READ);
    }
    ssize_t got = (ssize_t)next_syscall()(SYS_recvmsg, fd, message, flags);
    if (is_read) {
        moment(got > 0 ? BEHIND_READ : BEHIND_EMPTY_READ);
    } else if ((flags & MSG_PEEK) != 0 && got > 0) {
        moment(BEHIND_PEEK);
    } else if (wanted->count > 0 && got > (ssize_t)sizeof(uint32_t) && !is_stream(fd) &&
               *(const uint32_t *)message->msg_iov->iov_base == KEPT_ALIVE) {
        moment(BEHIND_TAKE);
    }
    return got;
}

int epoll_wait(int epoll, struct epoll_event *events, int size, int timeout)
{
    long count = next_syscall()(SYS_epoll_pwait, epoll, events, size, timeout, NULL, 0);
    if (count > 0) {
        moment(BEHIND_WAIT);
    }
    return (int)count;
}

/* The first one that a runtime makes is for its signals, whose handlers it installs right after. */
int eventfd(unsigned int count, int flags)
{
    moment(BEFORE_EVENTFD);
    return (int)next_syscall()(SYS_eventfd2, count, flags);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict size, int flags)
{
    long connection = next_syscall()(SYS_accept4, fd, address, size, flags);
    if (connection >= 0) {
        moment(BEHIND_ACCEPT);
    }
    return (int)connection;
}
