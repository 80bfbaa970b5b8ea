/* How much memory a process has, from /proc/PID/statm (proc(5)). */
#ifndef ASYA_BASE_STATM_H
#define ASYA_BASE_STATM_H

#include <stdint.h>
#include <sys/types.h>

/* Which of the numbers in that file, from 1. */
enum statm_field {
    STATM_MAPPED = 1,   /* all that is mapped, as RLIMIT_AS counts it */
    STATM_RESIDENT = 2, /* resident set */
    STATM_DATA = 6,     /* data and stack, as RLIMIT_DATA counts them */
};

/* Bytes; 0 if unknown. `pid` 0 is this process. */
uint64_t statm_read(pid_t pid, enum statm_field field);

#endif
