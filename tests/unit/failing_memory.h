/*
 * Allocations that fail one after the other, an embedded interpreter's and the codec's own, which the linker hands over
 * (-Wl,--wrap=malloc,--wrap=realloc). For one test program; not thread-safe.
 */
#ifndef ASYA_TESTS_FAILING_MEMORY_H
#define ASYA_TESTS_FAILING_MEMORY_H

/* Puts itself before the interpreter's allocators. Called once, behind Py_Initialize. */
void failing_memory_start(void);

/* From now on the allocation number `count` fails, and all behind it; 0 or less: none. */
void failing_memory_after(long count);

#endif
