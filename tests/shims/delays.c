/*
 * The moments around a system call made long: one call in SHIM_DELAYS of those that touch a connection sleeps
 * before or behind it, so that a death falls into moments that are otherwise too short to be hit.
 */
#include "next.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_US = 4000 };

static unsigned one_in;

__attribute__((constructor)) static void read_mode(void)
{
    const char *text = getenv("SHIM_DELAYS");
    one_in = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
    if (one_in == 0) { /* or the test would show nothing */
        abort();
    }
}

static unsigned chance(void)
{
    static _Thread_local uint64_t state;
    if (state == 0 || (pid_t)(state >> 32) == 0) {
        state = ((uint64_t)getpid() << 32 | (uint64_t)clock()) | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state * UINT64_C(0x2545F4914F6CDD1D) >> 33);
}

/* Restores errno only where nanosleep() has changed it: what a signal handler leaves there is to show. */
static void perhaps_sleep(void)
{
    if (chance() % (2 * one_in) == 0) {
        int kept = errno;
        struct timespec time = {.tv_nsec = (long)(chance() % LONGEST_US) * 1000};
        if (nanosleep(&time, NULL) != 0) {
            errno = kept;
        }
    }
}

#define AROUND(type, call)                                                                                             \
    perhaps_sleep();                                                                                                   \
    type result = (type)(call);                                                                                        \
    perhaps_sleep();                                                                                                   \
    return result

long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    struct arguments arguments = arguments_take(list);
    va_end(list);
    if (number != SYS_sendmmsg) {
        return next_call(number, &arguments);
    }
    AROUND(long, next_call(number, &arguments));
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    AROUND(ssize_t, next_syscall()(SYS_recvmsg, fd, message, flags));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    AROUND(ssize_t, next_syscall()(SYS_sendmsg, fd, message, flags));
}

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    AROUND(ssize_t, next_syscall()(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL));
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict size, int flags)
{
    AROUND(int, next_syscall()(SYS_accept4, fd, address, size, flags));
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    AROUND(int, next_syscall()(SYS_epoll_ctl, epoll, operation, fd, event));
}

int shutdown(int fd, int how) { AROUND(int, next_syscall()(SYS_shutdown, fd, how)); }
