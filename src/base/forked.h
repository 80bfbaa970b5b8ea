/*
 * Whether this process is still the one it was, or a child that somebody has forked, with or without Python's knowledge
 * (a C library may).
 */
#ifndef ASYA_BASE_FORKED_H
#define ASYA_BASE_FORKED_H

#include <stdbool.h>

/* From now on children of this process count as forked. */
void forked_begin(void);

/* Costs a read of memory: the kernel gives a child zeros where the parent has a mark (MADV_WIPEONFORK, Linux 4.14).
 * Where it does not, a getpid(), 0.1 us. */
bool forked_is_child(void);

#endif
