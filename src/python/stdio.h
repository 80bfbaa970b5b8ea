/*
 * sys.stdout and sys.stderr of a worker (glue/stdio.py). They are written line by line, and print() never raises:
 * neither for a reader that is gone, nor for a full disk, a descriptor that is non-blocking or closed, or a character
 * that the encoding lacks.
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_STDIO_H
#define ASYA_PYTHON_STDIO_H

/* To be called before the user's module is imported. A stream that something else has replaced already stays as it
 * is. */
void stdio_install(void);

/* Flushes both. Leaves no exception set. */
void stdio_flush(void);

#endif
