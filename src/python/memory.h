/*
 * What ASYA_MEMORY_LIMIT (RLIMIT_DATA, setrlimit(2)) reaches: the worker itself, and not the programs it starts.
 */
#ifndef ASYA_PYTHON_MEMORY_H
#define ASYA_PYTHON_MEMORY_H

#include <stdbool.h>

/* In a worker whose soft limit is set: programs that the function starts with subprocess, multiprocessing's spawn or
 * os.posix_spawn get the hard limit instead, which is what the runtime was started with. What cannot be arranged is
 * logged. Needs the GIL. */
void memory_free_programs(void);

/* Whether the limit leaves no room for the stack of one more thread: then that is why a thread cannot be started. */
bool memory_lacks_stack(void);

#endif
