/*
 * A system that gives as little as it may. SHIM_SOCKETS "short": a stream socket takes and gives one byte a call.
 * "interrupted": every second call of a kind that may be interrupted is, before it has done anything. "crowded": no
 * message takes a connection along, since too many descriptors are in flight.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_short;
static bool is_interrupted;
static bool is_crowded;

__attribute__((constructor)) static void read_mode(void)
{
    const char *mode = getenv("SHIM_SOCKETS");
    is_short = mode != NULL && strcmp(mode, "short") == 0;
    is_interrupted = mode != NULL && strcmp(mode, "interrupted") == 0;
    is_crowded = mode != NULL && strcmp(mode, "crowded") == 0;
    if (!is_short && !is_interrupted && !is_crowded) { /* or the test would show nothing */
        abort();
    }
}

/* What libc has under this name. */
#define NEXT(name)                                                                                                     \
    static __typeof__(&name) next;                                                                                     \
    if (next == NULL) {                                                                                                \
        void *found = dlsym(RTLD_NEXT, #name);                                                                         \
        memcpy(&next, &found, sizeof next);                                                                            \
    }

/* Its own count for each function it stands in. */
#define INTERRUPT                                                                                                      \
    do {                                                                                                               \
        static _Atomic unsigned calls;                                                                                 \
        if (is_interrupted && atomic_fetch_add(&calls, 1) % 2 == 1) {                                                  \
            errno = EINTR;                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    int before = errno;
    bool is = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
    errno = before;
    return is;
}

static size_t cut(int fd, size_t size) { return is_short && size > 1 && is_stream(fd) ? 1 : size; }

/* The same for a message: `part` is where its one byte is told of. One that carries descriptors is taken whole, as by
 * any kernel: it is small, and they belong to all of its bytes. */
static struct msghdr cut_message(int fd, const struct msghdr *message, struct iovec *part)
{
    struct msghdr shorter = *message;
    bool is_cut = is_short && message->msg_controllen == 0 && is_stream(fd);
    for (size_t i = 0; is_cut && i < message->msg_iovlen; i++) {
        if (message->msg_iov[i].iov_len > 0) {
            *part = (struct iovec){message->msg_iov[i].iov_base, 1};
            shorter.msg_iov = part;
            shorter.msg_iovlen = 1;
            break;
        }
    }
    return shorter;
}

ssize_t read(int fd, void *bytes, size_t size)
{
    NEXT(read)
    INTERRUPT;
    return next(fd, bytes, cut(fd, size));
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    NEXT(write)
    INTERRUPT;
    return next(fd, bytes, cut(fd, size));
}

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    NEXT(recv)
    INTERRUPT;
    return next(fd, bytes, (flags & MSG_PEEK) != 0 ? size : cut(fd, size), flags);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    NEXT(send)
    INTERRUPT;
    return next(fd, bytes, cut(fd, size), flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    NEXT(recvmsg)
    INTERRUPT;
    return next(fd, message, flags); /* the runtime's own, of one byte or a datagram */
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    NEXT(sendmsg)
    INTERRUPT;
    if (is_crowded && message->msg_controllen > 0) {
        errno = ETOOMANYREFS;
        return -1;
    }
    struct iovec part;
    struct msghdr shorter = cut_message(fd, message, &part);
    return next(fd, &shorter, flags);
}

static long send_messages(long fd, struct mmsghdr *messages, long flags)
{
    NEXT(syscall)
    INTERRUPT;
    struct iovec part;
    struct msghdr whole = messages->msg_hdr;
    messages->msg_hdr = cut_message((int)fd, &whole, &part);
    long sent = next(SYS_sendmmsg, fd, messages, 1, flags);
    int error = errno;
    messages->msg_hdr = whole;
    errno = error;
    return sent;
}

long syscall(long number, ...)
{
    NEXT(syscall)
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    struct mmsghdr *messages;
    memcpy(&messages, &a[1], sizeof messages);
    return number == SYS_sendmmsg ? send_messages(a[0], messages, a[3])
                                  : next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int accept4(int fd, struct sockaddr *restrict name, socklen_t *restrict size, int flags)
{
    NEXT(accept4)
    INTERRUPT;
    return next(fd, name, size, flags);
}

int epoll_wait(int epoll, struct epoll_event *events, int room, int timeout)
{
    NEXT(epoll_wait)
    INTERRUPT;
    return next(epoll, events, room, timeout);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    NEXT(poll)
    INTERRUPT;
    return next(fds, count, timeout);
}

pid_t wait4(pid_t pid, int *ret_status, int options, struct rusage *ret_usage)
{
    NEXT(wait4)
    INTERRUPT;
    return next(pid, ret_status, options, ret_usage);
}

pid_t waitpid(pid_t pid, int *ret_status, int options)
{
    NEXT(waitpid)
    INTERRUPT;
    return next(pid, ret_status, options);
}

int waitid(idtype_t type, id_t id, siginfo_t *ret_info, int options)
{
    NEXT(waitid)
    INTERRUPT;
    return next(type, id, ret_info, options);
}
