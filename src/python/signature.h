/*
 * Whether a function can be called with one argument, the payload. One that cannot is refused at the start: otherwise
 * the worker would become ready and fail every message.
 */
#ifndef ASYA_PYTHON_SIGNATURE_H
#define ASYA_PYTHON_SIGNATURE_H

#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

/* False with a reason that follows the function's name in a sentence, NUL-terminated and cut to `size`. `path` is the
 * name it was found by. What has no signature that can be seen, as many functions written in C, counts as fit. Needs
 * the GIL; an exception is never left set. */
bool signature_takes_payload(PyObject *function, const char *path, char *reason, size_t size);

#endif
