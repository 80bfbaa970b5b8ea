/*
 * Whether this process is a child forked from the one that called forked_begin(). Also finds forks that Python does not
 * know of: a C library may fork.
 */
#ifndef ASYA_BASE_FORKED_H
#define ASYA_BASE_FORKED_H

#include <stdbool.h>

/* Marks this process as the parent. */
void forked_begin(void);

/* Costs one read of memory: the kernel clears a page of the parent's in the child (MADV_WIPEONFORK, Linux 4.14). On
 * older kernels it costs a getpid(), 0.1 us. */
bool forked_is_child(void);

#endif
