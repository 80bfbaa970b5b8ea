/*
 * Descriptors: closing them at the end of a scope, flags, numbers, and which file a path names.
 *
 * No descriptor that the runtime keeps is 0, 1 or 2. The function, its libraries and the programs it starts read and
 * write these without asking: if a client's connection had one of these numbers, whatever they print would become part
 * of its reply. So standard descriptors that are closed are opened on /dev/null when the process starts
 * (fd_plug_standard). The function may close them at any time, so every descriptor that is accepted, received or made
 * while it is loaded is moved above them (fd_raise). A descriptor that is closed again at once, such as a file that is
 * read, may have these numbers.
 *
 * glibc before 2.33 exports no dynamic symbol for the stat family, so we use the system call by number.
 */
#ifndef ASYA_BASE_FD_H
#define ASYA_BASE_FD_H

#include <stdbool.h>
#include <stdint.h>

struct file_identity {
    uint64_t device;
    uint64_t inode;
    uint64_t size;     /* bytes */
    uint64_t modified; /* nanoseconds since 1970 */
    uint32_t owner;
    unsigned mode; /* type and permissions, as st_mode */
};

/* Closes *fd unless it is negative, and sets it to -1. errno is left as it was. */
void fd_close(int *fd);

/* `FD_SCOPED int fd = -1;` is closed at the end of its scope, unless it was set to -1 (moved) before. */
#define FD_SCOPED __attribute__((cleanup(fd_close)))

/* Gives *fd away: the caller of fd_take owns what it returns. */
static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

enum { FD_STANDARD_END = 3 }; /* 0 to 2 are standard input, output and error */

/* Opens /dev/null at each number from 0 to 2 that is closed. These are not close-on-exec: programs inherit standard
 * descriptors. If /dev/null cannot be opened they stay closed. */
void fd_plug_standard(void);

/* The slow path of fd_raise. */
int fd_raise_low(int *fd) __attribute__((warn_unused_result));

/* Moves a descriptor with a standard number above those, close-on-exec, and opens /dev/null in its place. Other
 * descriptors stay as they are, without a system call. Returns 0; or -errno if no number is free, and *fd stays as it
 * was. */
static inline int fd_raise(int *fd)
{
    return __builtin_expect(*fd >= FD_STANDARD_END || *fd < 0, 1) ? 0 : fd_raise_low(fd);
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
