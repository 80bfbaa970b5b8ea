#include "supervisor/readyfile.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 + 8 };

int readyfile_write(const char *path)
{
    if (path[0] == '\0') {
        return 0;
    }
    char temporary[PATH_SIZE];
    int length = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (length < 0 || (size_t)length >= sizeof temporary) {
        return -ENAMETOOLONG;
    }
    static const char content[] = "ready\n";
    FD_SCOPED int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        return -errno;
    }
    ssize_t written = write(fd, content, sizeof content - 1);
    int status = written == (ssize_t)(sizeof content - 1) ? 0 : written < 0 ? -errno : -ENOSPC;
    if (close(fd_take(&fd)) != 0 && status == 0) {
        status = -errno; /* network file systems report a full disk here */
    }
    if (status == 0 && rename(temporary, path) != 0) {
        status = -errno;
    }
    if (status < 0) {
        unlink(temporary);
    }
    return status;
}

void readyfile_remove(const char *path)
{
    if (path[0] != '\0') {
        unlink(path);
    }
}
