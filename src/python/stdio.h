/*
 * sys.stdout and sys.stderr of a worker (glue/stdio.py). They are written line by line, and print() never raises:
 * neither for a reader that is gone, nor for a full disk, a descriptor that is non-blocking or closed, or a character
 * that the encoding lacks.
 *
 * With ASYA_CAPTURE_OUTPUT both are pipes to the supervisor (base/marks.h). Where requests run side by side, text that
 * is printed here has a mark before and after it. Text from C code and other programs has none, so its request is
 * unknown.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_STDIO_H
#define ASYA_PYTHON_STDIO_H

#include "python/call.h"

/* To be called before the user's module is imported. A stream that something else has replaced already stays as it
 * is. */
void stdio_install(void);

/* ASYA_CAPTURE_OUTPUT: the text printed since the last call of this function belongs to this request; NULL: to none. */
void stdio_end_request(const struct call *call);

/* Flushes both. Leaves no exception set. */
void stdio_flush(void);

#endif
