#include "base/procstat.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PROCSTAT_SIZE = 1024 };

/* The first bytes of a file of the process, NUL-terminated; "" if it cannot be read. */
static void procstat_read(pid_t pid, const char *name, char text[PROCSTAT_SIZE])
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FD_SCOPED int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, PROCSTAT_SIZE - 1) : -1;
    text[got > 0 ? got : 0] = '\0';
}

uint64_t procstat_cpu(pid_t pid)
{
    char text[PROCSTAT_SIZE];
    procstat_read(pid, "stat", text);
    const char *at = strrchr(text, ')'); /* the name of the program, field 2, may have anything in it */
    uint64_t user = 0;
    uint64_t system = 0;
    for (int field = 2; at != NULL && field < 14; field++) {
        at = strchr(at + 1, ' ');
    }
    at = at != NULL ? text_number(at + 1, &user) : NULL;
    if (at == NULL || *at != ' ' || text_number(at + 1, &system) == NULL) {
        return 0;
    }
    return (user + system) * (CLOCK_SECOND / (uint64_t)sysconf(_SC_CLK_TCK));
}

uint64_t procstat_pss(pid_t pid)
{
    static const char name[] = "\nPss:";
    char text[PROCSTAT_SIZE];
    uint64_t kib = 0;
    procstat_read(pid, "smaps_rollup", text);
    const char *at = strstr(text, name);
    at = at != NULL ? at + strlen(name) : "";
    (void)text_number(at + strspn(at, " \t"), &kib); /* else 0: unknown */
    return kib << 10;
}
