#include "base/backlog.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

static char kept[BACKLOG_SIZE];
static size_t begin; /* kept[begin..end) is not written yet; `begin` may be inside a line */
static size_t end;

bool backlog_has_room(size_t size) { return size <= sizeof kept - (end - begin); }

void backlog_add(const char *line, size_t size)
{
    if (size > sizeof kept - end) {
        memmove(kept, kept + begin, end - begin);
        end -= begin;
        begin = 0;
    }
    memcpy(kept + end, line, size);
    end += size;
}

bool backlog_is_empty(void) { return begin == end; }

void backlog_clear(void) { begin = end = 0; }

/* The functions below return how many bytes were written, or -errno; -EAGAIN if writing would have to wait. They do not
 * set O_NONBLOCK on descriptor 2: its open file is shared with the process that started us, and with the function. */
static ssize_t result_of(ssize_t count) { return count >= 0 ? count : -errno; }

/* Opens the same pipe or terminal again, non-blocking, as an open file of our own. Closed again after each line, since
 * descriptor 2 may be another file by the next one. */
static ssize_t write_reopened(const char *bytes, size_t size)
{
    FD_SCOPED int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_APPEND | O_CLOEXEC);
    if (own >= 0) {
        return result_of(write(own, bytes, size));
    }
    if (errno == ENXIO) {
        return -EPIPE; /* a pipe without a reader */
    }
    /* Not permitted, or no descriptor is left. If another process fills the pipe between poll() and write() this does
     * wait. Linux 6.4 and newer never get here with a pipe. */
    struct pollfd look = {.fd = STDERR_FILENO, .events = POLLOUT};
    int ready = poll(&look, 1, 0);
    return ready > 0 ? result_of(write(STDERR_FILENO, bytes, size)) : ready < 0 ? -errno : -EAGAIN;
}

static ssize_t write_stream(const char *bytes, size_t size)
{
    struct {
        const void *bytes;
        size_t size;
    } part = {bytes, size}; /* struct iovec, whose pointer is not const */
    ssize_t status = result_of(syscall(SYS_pwritev2, STDERR_FILENO, &part, 1L, -1L, -1L, (long)RWF_NOWAIT));
    bool unknown = status == -EOPNOTSUPP || status == -ENOSYS || status == -EPERM || status == -EINVAL;
    return unknown ? write_reopened(bytes, size) : status;
}

/* Writing to a pipe without a reader sends SIGPIPE, which would run a handler of the function's or kill the process. So
 * it is blocked, and taken away if it came. */
static ssize_t write_unsignalled(const char *bytes, size_t size)
{
    sigset_t pipe_signal;
    sigset_t before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    if (sigprocmask(SIG_BLOCK, &pipe_signal, &before) != 0) {
        return -errno;
    }
    ssize_t status = write_stream(bytes, size);
    if (status == -EPIPE) {
        uint64_t mask = UINT64_C(1) << (SIGPIPE - 1); /* a signal set as the kernel has it */
        struct timespec now = {0};
        (void)syscall(SYS_rt_sigtimedwait, &mask, NULL, &now, sizeof mask);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

static ssize_t write_now(const char *bytes, size_t size)
{
    struct file_identity file;
    int status = fd_stat(STDERR_FILENO, &file);
    if (status < 0) {
        return status;
    }
    if (S_ISREG(file.mode)) {
        return result_of(write(STDERR_FILENO, bytes, size)); /* a regular file has no reader to wait for */
    }
    if (S_ISSOCK(file.mode)) {
        return result_of(send(STDERR_FILENO, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    return write_unsignalled(bytes, size);
}

bool backlog_flush(void)
{
    bool any = false;
    while (begin < end) {
        const char *newline = memchr(kept + begin, '\n', end - begin);
        size_t size = newline != NULL ? (size_t)(newline + 1 - (kept + begin)) : end - begin;
        ssize_t count = write_now(kept + begin, size);
        if (count == -EINTR) {
            continue;
        }
        if (count <= 0) {
            if (count == -EBADF) {
                backlog_clear(); /* descriptor 2 is closed, and what is opened next at this number will not be the log
                                  */
            }
            return any;
        }
        any = true;
        begin += (size_t)count;
    }
    backlog_clear();
    return any;
}
