/*
 * The descriptor numbers that this worker holds: those of its connections and of its own channels.
 *
 * The kernel gives a new connection the lowest free number. If that is a number which we hold, the function has closed
 * our descriptor, for example because it closed one of its own twice. Without this check the replies of one connection
 * would go to the client of another, and a channel's messages (with the descriptors in them) to a client. The check
 * needs no system call.
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
