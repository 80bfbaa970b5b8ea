/* Why a worker ended, in words for the reply and the log. */
#ifndef ASYA_SUPERVISOR_CAUSE_H
#define ASYA_SUPERVISOR_CAUSE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cause {
    int signal;         /* the signal that killed it, or 0 */
    int status;         /* its exit status where signal is 0 */
    bool own;           /* the runtime chose that status, not the function (scoreboard_note_exit) */
    bool lost;          /* it has not ended: the kernel does not let it (worker.h) */
    bool core;          /* it left a core dump */
    bool overran;       /* we have ended it for a function that did not stop at its time limit: the signal is ours */
    bool overwrote;     /* the function wrote over the memory that it shares with the supervisor */
    bool out_of_memory; /* the kernel's OOM killer took it, by the cgroup's own count */
    uint64_t peak_rss;  /* bytes; 0 if unknown */
};

enum { CAUSE_TEXT_SIZE = 128 };

/* The cause from a wait status as waitpid gives it. Pure. */
struct cause cause_from_wait(int wait_status);

/* A verb phrase: "was killed by signal 11 (SIGSEGV), core dumped" or "exited with status 3". Pure. */
void cause_describe(const struct cause *cause, char text[CAUSE_TEXT_SIZE]);

/* The reply to the request it was serving (wire contract, section 1): out_of_memory, or processing_error with the type
 * WorkerCrashed or WorkerExited. Pure. */
void cause_error(const struct cause *cause, struct error *err);

#endif
