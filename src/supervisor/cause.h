/* Why a worker ended, in words for the reply and the log. Pure. */
#ifndef ASYA_SUPERVISOR_CAUSE_H
#define ASYA_SUPERVISOR_CAUSE_H

#include <stdbool.h>
#include <stddef.h>

struct cause {
    int signal; /* the signal that killed it, or 0 */
    int status; /* its exit status where signal is 0 */
    bool core;  /* it left a core dump */
};

/* The cause from a wait status as waitpid gives it. */
struct cause cause_from_wait(int wait_status);

/* "killed by signal 11 (SIGSEGV), core dumped" or "exited with status 3". Always NUL-terminated. */
void cause_describe(const struct cause *cause, char *text, size_t size);

/* The `type` of the reply (wire contract, section 1): WorkerCrashed or WorkerExited. Static storage. */
const char *cause_type(const struct cause *cause);

#endif
