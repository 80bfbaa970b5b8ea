/*
 * sys.stdout and sys.stderr of a worker (glue/stdio.py): line by line, and nothing that is printed raises: not for a
 * reader that is gone, a full disk, a descriptor that is non-blocking or closed, or a character its encoding lacks.
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_STDIO_H
#define ASYA_PYTHON_STDIO_H

/* Before the user's module is imported. A stream that is none of the interpreter's own making stays as it is. */
void stdio_install(void);

/* Flushes both. What that raises is nobody's. */
void stdio_flush(void);

#endif
