#include "descriptors.h"

#include "capture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 8192, TEST_SECONDS = 20 };

static bool noted[DESCRIPTORS_MAX];

static size_t look(bool open[DESCRIPTORS_MAX])
{
    memset(open, 0, DESCRIPTORS_MAX * sizeof open[0]);
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) {
        perror("descriptors: /proc/self/fd");
        abort();
    }
    size_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(directory) && fd < DESCRIPTORS_MAX) {
            open[fd] = true;
            count++;
        }
    }
    closedir(directory);
    return count;
}

size_t descriptors_count(void)
{
    static bool open[DESCRIPTORS_MAX];
    return look(open);
}

static struct rlimit allowed; /* all zero: nothing is lowered */

static void set_limit(struct rlimit limit)
{
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        perror("descriptors: setrlimit");
        abort();
    }
}

void descriptors_limit(unsigned more)
{
    int lowest = dup(STDERR_FILENO); /* all below are open */
    if (lowest < 0 || getrlimit(RLIMIT_NOFILE, &allowed) != 0) {
        perror("descriptors: getrlimit");
        abort();
    }
    close(lowest);
    rlim_t end = (rlim_t)lowest;
    for (; more > 0; end++) {
        more -= fcntl((int)end, F_GETFD) < 0;
    }
    set_limit((struct rlimit){.rlim_cur = end, .rlim_max = allowed.rlim_max});
}

void descriptors_allow(void)
{
    set_limit(allowed);
    allowed = (struct rlimit){0};
}

int descriptors_note(void **state)
{
    (void)state;
    look(noted);
    alarm(TEST_SECONDS);
    return 0;
}

int descriptors_check(void **state)
{
    (void)state;
    static bool open[DESCRIPTORS_MAX];
    capture_give_up();
    if (allowed.rlim_max > 0) { /* the test has failed in between */
        descriptors_allow();
    }
    look(open);
    alarm(0);
    int status = 0;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        if (open[fd] != noted[fd]) {
            char link[64];
            char target[256] = "";
            (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            if (readlink(link, target, sizeof target - 1) < 0) {
                target[0] = '\0';
            }
            (void)fprintf(stderr, "descriptor %d %s: %s\n", fd, open[fd] ? "was left open" : "was closed", target);
            status = -1;
        }
    }
    return status;
}
