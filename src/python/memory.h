/*
 * What ASYA_MEMORY_LIMIT (setrlimit(2)) reaches: the worker itself, and not the programs it starts. And what it ends:
 * Python raises MemoryError where the limit refuses memory, but many libraries (Rust's, C++ in a thread) abort the
 * process.
 */
#ifndef ASYA_PYTHON_MEMORY_H
#define ASYA_PYTHON_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Sets the soft limit of this worker's memory: RLIMIT_DATA, what it may allocate. A system that takes a limit need not
 * enforce it: gVisor and Linux before 4.7 hold RLIMIT_DATA against brk() alone. So an allocation beyond the limit is
 * tried, two system calls that touch no page, and where it is not refused, RLIMIT_AS takes its place: what is mapped,
 * on top of what is mapped now, so that files a library maps count too. Which one it is, or that there is none, is
 * logged. Programs that the function starts with subprocess, multiprocessing's spawn or os.posix_spawn get the hard
 * limit instead, which is what the runtime was started with. Once in a process. Needs the GIL. */
void memory_set_limit(uint64_t bytes);

struct scoreboard;

/* The bytes that the soft limit leaves to the worker; 0: there is none. */
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
