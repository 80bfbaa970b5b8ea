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
        close(*fd); /* never retried: Linux frees the number even on EINTR */
        *fd = -1;
        errno = saved;
    }
}

int fd_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
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
    *ret_identity = (struct file_identity){.device = status.st_dev, .inode = status.st_ino, .mode = status.st_mode};
    return 0;
}

int fd_stat(int fd, struct file_identity *ret_identity) { return fd_stat_at(fd, "", ret_identity); }
