#include "capture.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAPTURE_SIZE = 1 << 20 };

static int saved = -1;

void capture_begin(void)
{
    log_configure(LOG_LEVEL_INFO, LOG_TEXT);
    (void)fflush(stderr);
    int file = memfd_create("standard error", 0);
    saved = dup(STDERR_FILENO);
    if (file < 0 || saved < 0 || fcntl(file, F_SETFL, O_APPEND) != 0 || dup2(file, STDERR_FILENO) < 0) {
        perror("capture");
        abort();
    }
    close(file);
}

const char *capture_end(void)
{
    static char text[CAPTURE_SIZE];
    (void)fflush(stderr);
    ssize_t got = pread(STDERR_FILENO, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    dup2(saved, STDERR_FILENO);
    close(saved);
    saved = -1;
    return text;
}

void capture_give_up(void)
{
    if (saved >= 0) {
        (void)fputs(capture_end(), stderr);
    }
}

unsigned capture_count(const char *text, const char *part)
{
    unsigned count = 0;
    for (const char *found = strstr(text, part); found != NULL; found = strstr(found + 1, part)) {
        count++;
    }
    return count;
}
