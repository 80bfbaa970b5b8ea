#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd); /* not retried on EINTR: Linux has freed the number by then */
        *fd = -1;
        errno = saved;
    }
}

void fd_plug_standard(void)
{
    int null;
    do { /* open() returns the lowest number that is free */
        null = open("/dev/null", O_RDWR);
    } while (null >= 0 && null < FD_STANDARD_END);
    fd_close(&null);
}

/* By number: newer versions of glibc export fcntl() under another name. */
int fd_raise_low(int *fd)
{
    int raised = (int)syscall(SYS_fcntl, *fd, F_DUPFD_CLOEXEC, FD_STANDARD_END);
    if (raised < 0) {
        return -errno;
    }
    fd_close(fd);
    fd_plug_standard();
    *fd = raised;
    return 0;
}

int fd_set_nonblocking(int fd)
{
    long flags = syscall(SYS_fcntl, fd, F_GETFL);
    if (flags < 0 || ((flags & O_NONBLOCK) == 0 && syscall(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK) < 0)) {
        return -errno;
    }
    return 0;
}

int fd_stat_at(int directory, const char *name, struct file_identity *ret_identity)
{
    struct stat status; /* on 64-bit machines glibc, musl and the kernel agree on this layout */
    int flags = AT_SYMLINK_NOFOLLOW | (name[0] == '\0' ? AT_EMPTY_PATH : 0);
    if (syscall(SYS_newfstatat, directory, name, &status, flags) != 0) {
        return -errno;
    }
    *ret_identity = (struct file_identity){.device = status.st_dev,
                                           .inode = status.st_ino,
                                           .size = (uint64_t)status.st_size,
                                           .modified = (uint64_t)status.st_mtim.tv_sec * 1000000000 +
                                                       (uint64_t)status.st_mtim.tv_nsec,
                                           .owner = status.st_uid,
                                           .mode = status.st_mode};
    return 0;
}

int fd_stat(int fd, struct file_identity *ret_identity) { return fd_stat_at(fd, "", ret_identity); }
