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
    bool own;           /* the runtime in the worker exited with that status, not the function (scoreboard_note_exit) */
    bool lost;          /* it was killed and has not ended (worker.h) */
    bool core;          /* it left a core dump */
    bool overran;       /* the supervisor sent the signal, since a function did not stop at its time limit */
    bool overwrote;     /* the function wrote over the memory that it shares with the supervisor */
    bool out_of_memory; /* the kernel's OOM killer killed it, by the cgroup's counter */
    bool memory_denied; /* it aborted because memory was refused (python/memory.h) */
    uint64_t peak_rss;  /* bytes; 0 if unknown */
};

enum { CAUSE_TEXT_SIZE = 128 };

/* The cause from a wait status as waitpid gives it. Pure. */
struct cause cause_from_wait(int wait_status);

/* "SIGSEGV"; "unnamed" for one without a name here. Static storage. */
const char *cause_signal_name(int number);

/* A verb phrase: "was killed by signal 11 (SIGSEGV), core dumped" or "exited with status 3". Pure. */
void cause_describe(const struct cause *cause, char text[CAUSE_TEXT_SIZE]);

/* The reply to the request it was serving (docs/protocol.md, docs/reliability.md): out_of_memory, or processing_error
 * with the type WorkerCrashed or WorkerExited. Pure. */
void cause_error(const struct cause *cause, struct error *err);

#endif
