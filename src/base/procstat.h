/* What the kernel knows of a process that is still there, from /proc (proc(5)). */
#ifndef ASYA_BASE_PROCSTAT_H
#define ASYA_BASE_PROCSTAT_H

#include <stdint.h>
#include <sys/types.h>

/* Processor time it has used, of all its threads, in ns and as exact as the kernel's ticks (10 ms); 0 if unknown. */
uint64_t procstat_cpu(pid_t pid);

/* Its share of memory in bytes: what several processes have in common counts in parts (PSS); 0 if unknown. The kernel
 * walks through all its pages for that: some 5 ms for a GiB. */
uint64_t procstat_pss(pid_t pid);

#endif
