#include "base/statm.h"

#include "base/fd.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

uint64_t statm_read(pid_t pid, enum statm_field field)
{
    char path[64] = "/proc/self/statm";
    char text[128];
    if (pid != 0) {
        (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    }
    FD_SCOPED int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    text[got > 0 ? got : 0] = '\0';
    const char *next = text;
    for (unsigned at = 1; at < field && *next != '\0'; next++) {
        at += *next == ' ';
    }
    uint64_t pages = 0;
    (void)text_number(next, &pages); /* else 0: unknown */
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
