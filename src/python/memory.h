/*
 * ASYA_MEMORY_LIMIT (setrlimit(2)): limits the worker itself but not the programs that it starts, and recognises when a
 * worker dies of the limit: Python raises MemoryError, but many libraries (in Rust, in C++ threads) abort the process.
 */
#ifndef ASYA_PYTHON_MEMORY_H
#define ASYA_PYTHON_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Sets the soft limit of this worker's memory: RLIMIT_DATA, which limits what it may allocate. Some systems accept this
 * limit without enforcing it: gVisor and Linux before 4.7 apply it only to brk(). So this tries an allocation beyond
 * the limit (two system calls, which touch no page). If it succeeds, RLIMIT_AS is used instead: it limits all mappings,
 * on top of those that exist now, so files that a library maps count too. Logs if that is used, or if there is no limit
 * at all. Programs that the function starts with subprocess, multiprocessing's spawn or os.posix_spawn get the hard
 * limit instead, which is what the runtime was started with. Once in a process. Needs the GIL. */
void memory_set_limit(uint64_t bytes);

struct scoreboard;

/* The bytes that the soft limit leaves to the worker; 0: there is none. */
uint64_t memory_limit(void);

/* If there is a limit: installs a handler of SIGABRT that notes on the board if errno is ENOMEM. Then the last system
 * call that failed in the aborting thread was a request for memory; errno is 0 when a call of the function begins
 * (memory_begin). The amount of memory in use would be no evidence, since the refused allocation may be of any size.
 * The handler does not see it if something else fails between the refusal and the abort (Rust does so when it looks for
 * symbols of a backtrace, RUST_BACKTRACE=1), or if a library handles SIGABRT itself: such a death is WorkerCrashed. To
 * be called after faulthandler was enabled: the signal is passed on to it. `board` may be NULL. */
void memory_watch_aborts(struct scoreboard *board);

/* A call of the function begins in this thread: what was refused before is not why it aborts. */
static inline void memory_begin(void) { errno = 0; }

/* Whether the limit leaves no room for the stack of one more thread: then that is why a thread cannot be started. */
bool memory_lacks_stack(void);

#endif
