#include "server/rights.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PASSRIGHTS 83 /* SO_PASSRIGHTS of <asm-generic/socket.h>; the headers of the build are older */
#define PIDFD      4  /* SCM_PIDFD of <linux/socket.h>: the sender's process, as a descriptor; likewise */

static bool are_refused; /* the kernel refuses clients' descriptors */

/* The parent of the process that closes strays. In a worker it is the supervisor, which reaps children that it does not
 * know: the function's wait() must not see this child. */
static unsigned long parentage = SIGCHLD;

void rights_refuse(int listener)
{
    int pass = 0;
    are_refused = setsockopt(listener, SOL_SOCKET, PASSRIGHTS, &pass, sizeof pass) == 0;
}

void rights_in_worker(void) { parentage = CLONE_PARENT; }

bool rights_may_come(void) { return !are_refused; }

/* ---- strays ------------------------------------------------------------------------------------------------------ */

static void rights_wait_and_end(const int pipe[2]) __attribute__((noreturn));

/* Runs in the child: waits until the pipe's other end is closed. */
static void rights_wait_and_end(const int pipe[2])
{
    char byte;
    (void)close(pipe[1]);
    (void)!read(pipe[0], &byte, 1);
    _exit(0);
}

/* Forks a process with copies of all descriptors. It exits once *ret_ends is closed here; all signals are blocked in
 * it. */
static int rights_start_undertaker(int *ret_ends)
{
    int pipe[2];
    sigset_t all;
    sigset_t before;
    if (pipe2(pipe, O_CLOEXEC) != 0) {
        return -errno;
    }
    memset(&all, 0xFF, sizeof all);
    int status = sigprocmask(SIG_SETMASK, &all, &before) == 0 ? 0 : -errno;
    if (status == 0) {
        long pid = syscall(SYS_clone, parentage, 0L, 0L, 0L, 0L);
        if (pid == 0) {
            rights_wait_and_end(pipe);
        }
        status = pid < 0 ? -errno : 0;
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
    }
    fd_close(&pipe[0]);
    if (status < 0) {
        fd_close(&pipe[1]);
        return status;
    }
    *ret_ends = pipe[1];
    return 0;
}

/* Used when the process could not be made: switches SO_LINGER off before the close. */
static void rights_calm(int fd)
{
    static const struct linger off = {0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
}

void rights_close(int *fds, uint32_t count)
{
    if (count == 0) {
        return;
    }
    int ends = -1;
    int status = rights_start_undertaker(&ends);
    if (status < 0 && log_pass(LOG_LEVEL_WARNING, "strays")) {
        log_warning(EVENT_CLIENT_REFUSED,
                    "no process could be made to close descriptors that came with a message; they are closed here: %s",
                    strerror(-status));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (status < 0) {
            rights_calm(fds[i]);
        }
        fd_close(&fds[i]);
    }
    fd_close(&ends); /* last, so that the process still has its copies while ours are closed */
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* Looks at each control message: the function may have set SO_PASSCRED or its like on a socket of ours, and then the
 * descriptors are not in the first one. Without CMSG_NXTHDR, which may call a function that musl does not have. */
static uint32_t rights_take(struct msghdr *header, int ret_fds[RIGHTS_MAX])
{
    const size_t head = CMSG_LEN(0);
    const unsigned char *at = header->msg_control;
    size_t rest = header->msg_controllen;
    uint32_t count = 0;
    while (rest >= head) {
        struct cmsghdr part;
        memcpy(&part, at, sizeof part);
        if (part.cmsg_len < head || part.cmsg_len > rest) {
            break;
        }
        size_t size = part.cmsg_len - head;
        if (part.cmsg_level == SOL_SOCKET && part.cmsg_type == SCM_RIGHTS && size <= RIGHTS_MAX * sizeof(int)) {
            memcpy(ret_fds, at + head, size);
            count = (uint32_t)(size / sizeof(int));
        } else if (part.cmsg_level == SOL_SOCKET && part.cmsg_type == PIDFD && size == sizeof(int)) {
            int process;
            memcpy(&process, at + head, sizeof process);
            fd_close(&process);
        }
        size_t whole = CMSG_SPACE(size) < rest ? CMSG_SPACE(size) : rest;
        at += whole;
        rest -= whole;
    }
    return count;
}

void rights_keep_in_line(int connection)
{
    static const int on = 1;
    if (!are_refused) {
        (void)setsockopt(connection, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on); /* no urgent data before Linux 5.15 */
    }
}

ssize_t rights_receive(int connection, struct iovec *parts, size_t count)
{
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = count};
    if (are_refused && count == 1) {
        return recv(connection, parts->iov_base, parts->iov_len, MSG_DONTWAIT); /* 70 ns faster */
    }
    if (are_refused) {
        return recvmsg(connection, &header, MSG_DONTWAIT);
    }
    union rights_space space;
    header.msg_control = space.bytes;
    header.msg_controllen = sizeof space.bytes;
    ssize_t got = recvmsg(connection, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got >= 0 && header.msg_controllen > 0) {
        int error = errno;
        int fds[RIGHTS_MAX];
        uint32_t strays = rights_take(&header, fds);
        if (strays > 0 && log_pass(LOG_LEVEL_WARNING, "rights")) {
            log_warning(EVENT_CLIENT_REFUSED, "a client passes descriptors, which are closed");
        }
        rights_close(fds, strays);
        errno = error;
    }
    return got;
}

int rights_send(int socket, const void *bytes, size_t size, const int *fds, uint32_t count)
{
    union {
        char bytes[CMSG_SPACE(RIGHTS_SENT_MAX * sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    struct iovec part = {.iov_len = size};
    memcpy(&part.iov_base, &bytes, sizeof bytes); /* struct iovec has no const */
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > RIGHTS_SENT_MAX) {
        return -EINVAL;
    }
    if (count > 0) {
        header.msg_control = ancillary.bytes;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        memset(&ancillary, 0, header.msg_controllen);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

ssize_t rights_receive_message(int socket, void *bytes, size_t size, int flags, struct rights_message *ret_message)
{
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    union rights_space space;
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes};
    ssize_t got;
    do {
        got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    ret_message->count = rights_take(&header, ret_message->fds);
    ret_message->is_cut = (header.msg_flags & MSG_CTRUNC) != 0;
    ret_message->is_short = (header.msg_flags & MSG_TRUNC) != 0;
    return got;
}
