#include "supervisor/cgroup.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_SIZE = 4096, PATH_SIZE = 4096 };

/* Version 1 writes "no limit" as the largest page-aligned number. */
#define UNLIMITED_V1 (UINT64_C(1) << 60)

/* The file's first FILE_SIZE - 1 bytes as NUL-terminated text. */
static bool read_file(const char *path, char text[FILE_SIZE])
{
    FD_SCOPED int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, FILE_SIZE - 1) : -1;
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* The path of our group in the hierarchy of `controller` ("" for version 2), from /proc/self/cgroup, whose lines are
 * "number:controllers:path". "/" if there is no such line. */
static void own_path(const char *controller, char path[PATH_SIZE])
{
    char text[FILE_SIZE];
    memcpy(path, "/", 2);
    if (!read_file("/proc/self/cgroup", text)) {
        return;
    }
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        char *controllers = strchr(line, ':');
        char *own = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (own != NULL) {
            *own = '\0';
            const char *found = controller[0] != '\0' ? strstr(controllers + 1, controller) : NULL;
            size_t size = strlen(controller);
            bool whole =
                found != NULL && (found[size] == '\0' || found[size] == ',') && (found[-1] == ':' || found[-1] == ',');
            if (whole || (controller[0] == '\0' && controllers[1] == '\0')) {
                (void)snprintf(path, PATH_SIZE, "%s", own + 1);
                return;
            }
        }
        line = end != NULL ? end + 1 : NULL;
    }
}

/* Reads `file` of our group: below our own path, or else at the root of the hierarchy. */
static bool read_group_file(const char *controller, const char *file, char text[FILE_SIZE])
{
    const char *root = getenv("ASYA_CGROUP_ROOT");
    if (root == NULL || root[0] == '\0') {
        root = "/sys/fs/cgroup";
    }
    char own[PATH_SIZE];
    char path[2 * PATH_SIZE];
    own_path(controller, own);
    const char *slash = controller[0] != '\0' ? "/" : "";
    const char *places[] = {own, ""};
    for (int i = 0; i < 2; i++) {
        int size = snprintf(path, sizeof path, "%s%s%s%s/%s", root, slash, controller, places[i], file);
        if (size > 0 && (size_t)size < sizeof path && read_file(path, text)) {
            return true;
        }
    }
    return false;
}

/* The number after `name` at the start of a line. */
static bool find_field(const char *text, const char *name, uint64_t *ret_value)
{
    size_t size = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, name, size) == 0 && line[size] == ' ') {
            return text_number(line + size + 1, ret_value) != NULL;
        }
    }
    return false;
}

bool cgroup_oom_kills(uint64_t *ret_count)
{
    char text[FILE_SIZE];
    if (read_group_file("", "memory.events", text)) {
        return find_field(text, "oom_kill", ret_count);
    }
    return read_group_file("memory", "memory.oom_control", text) && find_field(text, "oom_kill", ret_count);
}

bool cgroup_memory_limit(uint64_t *ret_bytes)
{
    char text[FILE_SIZE];
    if (read_group_file("", "memory.max", text)) {
        return text_number(text, ret_bytes) != NULL; /* "max" is not a number: no limit */
    }
    return read_group_file("memory", "memory.limit_in_bytes", text) && text_number(text, ret_bytes) != NULL &&
           *ret_bytes < UNLIMITED_V1;
}

uint64_t cgroup_share(const struct option_memory *memory)
{
    uint64_t limit;
    if (memory->percent == 0) {
        return memory->bytes;
    }
    return cgroup_memory_limit(&limit) ? limit / 100 * memory->percent : 0;
}

void cgroup_warn_of_share(const struct option_memory *memory, const char *name)
{
    if (memory->percent > 0 && cgroup_share(memory) == 0) {
        log_warning(EVENT_SETTING_IGNORED,
                    "%s is a share, but this container has no memory limit that can be read: it has no effect", name);
    }
}

bool cgroup_cpu_quota(uint64_t *ret_millis)
{
    char text[FILE_SIZE];
    uint64_t quota = 0;
    uint64_t period = 0;
    if (read_group_file("", "cpu.max", text)) {
        const char *space = strchr(text, ' ');
        if (text_number(text, &quota) == NULL || space == NULL || text_number(space + 1, &period) == NULL) {
            return false;
        }
    } else if (!read_group_file("cpu", "cpu.cfs_quota_us", text) || text_number(text, &quota) == NULL ||
               !read_group_file("cpu", "cpu.cfs_period_us", text) || text_number(text, &period) == NULL) {
        return false;
    }
    if (period == 0 || quota > UINT64_MAX / 1000) {
        return false;
    }
    *ret_millis = quota * 1000 / period;
    return true;
}
