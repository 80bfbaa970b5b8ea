/*
 * The descriptors' numbers that this worker holds: those of its connections and of its own channels.
 *
 * The kernel gives a new connection the lowest free number. If that is one which we hold, the function has closed our
 * descriptor, as a program does that closes a number twice. Without this look the replies of the one connection would
 * go to the client of the other, and a channel's messages (and the descriptors with them) to a client. The look costs
 * no system call.
 */
#ifndef ASYA_SERVER_NUMBERS_H
#define ASYA_SERVER_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

enum { NUMBERS_MAX = 1 << 16 }; /* a higher one needs a process with as many files open, and is not noted */

struct numbers {
    uint64_t bits[NUMBERS_MAX / 64];
};

/* Notes whether `fd` is held. -1 is no number. */
static inline void numbers_note(struct numbers *numbers, int fd, bool held)
{
    if (fd >= 0 && fd < NUMBERS_MAX) {
        uint64_t bit = UINT64_C(1) << fd % 64;
        numbers->bits[fd / 64] = held ? numbers->bits[fd / 64] | bit : numbers->bits[fd / 64] & ~bit;
    }
}

static inline bool numbers_are_held(const struct numbers *numbers, int fd)
{
    return fd >= 0 && fd < NUMBERS_MAX && (numbers->bits[fd / 64] >> fd % 64 & 1) != 0;
}

#endif
