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
static size_t begin; /* kept[begin] to kept[end] is not written yet; begin may stand within a line */
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

/* The functions below return the number of bytes taken, or -errno; -EAGAIN where one would have to wait. Descriptor 2
 * is shared with whoever started us and with the function: its O_NONBLOCK is theirs to set. */
static ssize_t result_of(ssize_t count) { return count >= 0 ? count : -errno; }

/* Through a description of our own of the same pipe or terminal. Not kept open: descriptor 2 may be another file by the
 * next line. */
static ssize_t write_reopened(const char *bytes, size_t size)
{
    FD_SCOPED int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_APPEND | O_CLOEXEC);
    if (own >= 0) {
        return result_of(write(own, bytes, size));
    }
    if (errno == ENXIO) {
        return -EPIPE; /* a pipe without a reader */
    }
    /* Not permitted, or no descriptor is left. Between the look and the write another process may fill the pipe: then
     * we do wait. Linux 6.4 and newer never get here with a pipe. */
    struct pollfd look = {.fd = STDERR_FILENO, .events = POLLOUT};
    int ready = poll(&look, 1, 0);
    return ready > 0 ? result_of(write(STDERR_FILENO, bytes, size)) : ready < 0 ? -errno : -EAGAIN;
}

static ssize_t write_stream(const char *bytes, size_t size)
{
    struct {
        const void *bytes;
        size_t size;
    } part = {bytes, size}; /* struct iovec, but for what is only read */
    ssize_t status = result_of(syscall(SYS_pwritev2, STDERR_FILENO, &part, 1L, -1L, -1L, (long)RWF_NOWAIT));
    bool unknown = status == -EOPNOTSUPP || status == -ENOSYS || status == -EPERM || status == -EINVAL;
    return unknown ? write_reopened(bytes, size) : status;
}

/* A pipe whose reader is gone sends SIGPIPE, for which the function may have a handler, or the default that kills. */
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
        uint64_t mask = UINT64_C(1) << (SIGPIPE - 1); /* as the kernel has it */
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
        return result_of(write(STDERR_FILENO, bytes, size)); /* has no reader who could make it wait */
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
                backlog_clear(); /* what is opened next under this number is not the log */
            }
            return any;
        }
        any = true;
        begin += (size_t)count;
    }
    backlog_clear();
    return any;
}
