#include "base/backlog.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

#define PATIENCE (3 * CLOCK_SECOND) /* for a pipe to have room for a whole long record */

static int target = STDERR_FILENO;
static struct file_identity kept_target; /* what `target` is, unless it is STDERR_FILENO */

static char kept[BACKLOG_SIZE]; /* each record ends with a NUL, which is not written */
static size_t begin;            /* kept[begin..end) is not written yet */
static size_t end;
static bool is_begun;       /* `begin` is inside a record */
static bool is_locked;      /* this process has the lock for long records */
static uint64_t waits_from; /* since when the next record waits for room; 0: it does not */

/* Takes the lock that processes have on the pipe for long records, or gives it back. The kernel does so when a process
 * dies. False if another process has it; where pipes have no locks we do without. */
static bool backlog_lock(short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
    is_locked = syscall(SYS_fcntl, target, F_SETLK, &lock) == 0 && type == F_WRLCK;
    return is_locked || (errno != EAGAIN && errno != EACCES);
}

static void backlog_unlock(void)
{
    if (is_locked) {
        (void)backlog_lock(F_UNLCK);
    }
}

bool backlog_has_room(size_t size) { return size < sizeof kept - (end - begin); }

void backlog_add(const char *record, size_t size)
{
    if (size >= sizeof kept - end) {
        memmove(kept, kept + begin, end - begin);
        end -= begin;
        begin = 0;
    }
    memcpy(kept + end, record, size);
    end += size;
    kept[end++] = '\0';
}

bool backlog_is_empty(void) { return begin == end; }

void backlog_clear(void)
{
    backlog_unlock();
    begin = end = 0;
    is_begun = false;
    waits_from = 0;
}

/* Whether a pipe has room for all of a record, and as much again for what others write meanwhile. How many of its pages
 * are in use is not told; but two that follow each other have more than one page of bytes, so twice the bytes are a
 * bound. */
static bool backlog_fits(size_t size, size_t capacity)
{
    int used = 0;
    if (syscall(SYS_ioctl, target, FIONREAD, &used) != 0 || used <= 0) {
        return true; /* there is nothing in it */
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return 2 * ((size_t)used + size) / page + 3 <= capacity / page;
}

/* Whether to begin with a record now. Up to PIPE_BUF bytes a pipe takes all or nothing (pipe(7)). Above that it takes
 * what fits, and another process's record could come between the parts. A reader that is slow for long gets long ones
 * in parts all the same. */
static bool backlog_may_begin(size_t size, bool is_last)
{
    long capacity = size > PIPE_BUF ? syscall(SYS_fcntl, target, F_GETPIPE_SZ) : 0;
    if (is_begun || capacity <= 0 || is_last) {
        return true;
    }
    if (backlog_lock(F_WRLCK) && backlog_fits(size, (size_t)capacity)) {
        return true;
    }
    backlog_unlock();
    uint64_t now = clock_now();
    waits_from = waits_from == 0 ? now : waits_from;
    return now - waits_from >= PATIENCE;
}

/* The functions below return how many bytes were written, or -errno; -EAGAIN if writing would have to wait. They do not
 * set O_NONBLOCK on descriptor 2: its open file is shared with the process that started us, and with the function. */
static ssize_t result_of(ssize_t count) { return count >= 0 ? count : -errno; }

/* Opens the same pipe or terminal again, non-blocking, as an open file of our own. Closed again after each line, since
 * descriptor 2 may be another file by the next one. */
static ssize_t write_reopened(const char *bytes, size_t size)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", target);
    FD_SCOPED int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_APPEND | O_CLOEXEC);
    if (own >= 0) {
        return result_of(write(own, bytes, size));
    }
    if (errno == ENXIO) {
        return -EPIPE; /* a pipe without a reader */
    }
    /* Not permitted, or no descriptor is left. If another process fills the pipe between poll() and write() this does
     * wait. Linux 6.4 and newer never get here with a pipe. */
    struct pollfd look = {.fd = target, .events = POLLOUT};
    int ready = poll(&look, 1, 0);
    return ready > 0 ? result_of(write(target, bytes, size)) : ready < 0 ? -errno : -EAGAIN;
}

static ssize_t write_at_once(int fd, const void *bytes, size_t size)
{
    struct {
        const void *bytes;
        size_t size;
    } part = {bytes, size}; /* struct iovec, whose pointer is not const */
    return result_of(syscall(SYS_pwritev2, fd, &part, 1L, -1L, -1L, (long)RWF_NOWAIT));
}

/* gVisor takes the flag for a pipe of its own, and waits all the same. What gives it away: Linux refuses the flag for
 * an eventfd. Should it no longer do so, the log takes two more calls a record. Tried once in a process. */
static bool is_waiting_all_the_same(void)
{
    static enum { NOT_TRIED, OBEYS, WAITS } found;
    static const uint64_t one = 1;
    FD_SCOPED int event = found == NOT_TRIED ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    if (event >= 0) {
        found = write_at_once(event, &one, sizeof one) > 0 ? WAITS : OBEYS;
    }
    return found == WAITS;
}

static ssize_t write_stream(const char *bytes, size_t size)
{
    ssize_t status = is_waiting_all_the_same() ? -EOPNOTSUPP : write_at_once(target, bytes, size);
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
    int status = fd_stat(target, &file);
    if (target != STDERR_FILENO && (status < 0 || !file_identity_equal(&file, &kept_target))) {
        target = STDERR_FILENO;
        status = fd_stat(target, &file);
    }
    if (status < 0) {
        return status;
    }
    if (S_ISREG(file.mode)) {
        return result_of(write(target, bytes, size)); /* a regular file has no reader to wait for */
    }
    if (S_ISSOCK(file.mode)) {
        return result_of(send(target, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    return write_unsignalled(bytes, size);
}

bool backlog_flush(bool is_last)
{
    bool any = false;
    while (begin < end) {
        size_t size = strlen(kept + begin);
        ssize_t count = backlog_may_begin(size, is_last) ? write_now(kept + begin, size) : -EAGAIN;
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
        is_begun = (size_t)count < size;
        begin += (size_t)count + !is_begun;
        waits_from = 0;
        if (!is_begun) {
            backlog_unlock();
        }
    }
    backlog_clear();
    return any;
}

int backlog_keep_target(void)
{
    if (target != STDERR_FILENO) {
        return target; /* the template has moved it */
    }
    int fd = (int)syscall(SYS_fcntl, STDERR_FILENO, F_DUPFD_CLOEXEC, FD_STANDARD_END);
    int status = fd < 0 ? -errno : fd_stat(fd, &kept_target);
    if (status == 0) {
        target = fd;
        return fd;
    }
    fd_close(&fd);
    return status;
}
