/*
 * Memory whose last byte lies flush against a page that faults: a test that reads or writes one byte too far dies with
 * SIGSEGV instead of passing by luck. For tests only, and for one thread; fails the process if memory cannot be had.
 */
#ifndef ASYA_TESTS_GUARD_H
#define ASYA_TESTS_GUARD_H

#include <stddef.h>

struct guard {
    unsigned char *data; /* `size` bytes; data + size faults */
    size_t size;
    void *map; /* private */
    size_t map_size;
};

/* `size` bytes of zero (0 is fine), writable, before a page that faults. */
struct guard guard_make(size_t size);

/* The same, filled with a copy of `bytes`. */
struct guard guard_copy(const void *bytes, size_t size);

/* A part of the same memory that still ends at the page: the last `size` bytes of it. */
unsigned char *guard_tail(const struct guard *guard, size_t size);

/* Does nothing to one that is freed already. */
void guard_free(struct guard *guard);

#endif
