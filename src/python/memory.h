/*
 * What ASYA_MEMORY_LIMIT (RLIMIT_DATA, setrlimit(2)) reaches: the worker itself, and not the programs it starts. And
 * what it ends: Python raises MemoryError where the limit refuses memory, but many libraries (Rust's, C++ in a thread)
 * abort the process.
 */
#ifndef ASYA_PYTHON_MEMORY_H
#define ASYA_PYTHON_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* In a worker whose soft limit is set: programs that the function starts with subprocess, multiprocessing's spawn or
 * os.posix_spawn get the hard limit instead, which is what the runtime was started with. What cannot be arranged is
 * logged. Needs the GIL. */
void memory_free_programs(void);

struct scoreboard;

/* The soft limit in bytes; 0: there is none. */
uint64_t memory_limit(void);

/* Where there is a limit, a process that aborts while errno says ENOMEM notes that on the board: then the last system
 * call that failed in the aborting thread was one for memory, and errno is 0 when a call of the function begins
 * (memory_begin). What is near the limit would be no such sign: what was refused may be larger than all there was. The
 * note is missed where something else fails between the refusal and the abort (Rust does when it looks for the symbols
 * of a backtrace, RUST_BACKTRACE=1), and where a library takes SIGABRT itself: such a death is WorkerCrashed. After
 * faulthandler was enabled: the signal goes on to it. `board` may be NULL. */
void memory_watch_aborts(struct scoreboard *board);

/* A call of the function begins in this thread: what was refused before is not why it aborts. */
static inline void memory_begin(void) { errno = 0; }

/* Whether the limit leaves no room for the stack of one more thread: then that is why a thread cannot be started. */
bool memory_lacks_stack(void);

#endif
