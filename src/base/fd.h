/*
 * Descriptors: closing by scope, flags, and which file stands at a path.
 *
 * The stat family has no dynamic symbol in glibc before 2.33, so it goes through the system call by number.
 */
#ifndef ASYA_BASE_FD_H
#define ASYA_BASE_FD_H

#include <stdbool.h>
#include <stdint.h>

struct file_identity {
    uint64_t device;
    uint64_t inode;
    unsigned mode; /* type and permissions, as st_mode */
};

/* Closes *fd unless it is negative, and sets it to -1. errno is left as it was. */
void fd_close(int *fd);

/* `FD_SCOPED int fd = -1;` is closed at the end of the scope unless set to -1 (moved) before. */
#define FD_SCOPED __attribute__((cleanup(fd_close)))

/* Gives *fd away: the caller of fd_take owns what it returns. */
static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Sets O_NONBLOCK. Returns 0 or -errno. */
int fd_set_nonblocking(int fd);

/* Identity of what `name` is in `directory` (a descriptor or AT_FDCWD); symbolic links are not followed.
 * Returns 0 or -errno. */
int fd_stat_at(int directory, const char *name, struct file_identity *ret_identity);

/* Identity of an open file. Returns 0 or -errno. */
int fd_stat(int fd, struct file_identity *ret_identity);

/* Same file: device and inode agree. */
static inline bool file_identity_equal(const struct file_identity *a, const struct file_identity *b)
{
    return a->device == b->device && a->inode == b->inode;
}

#endif
