/*
 * A Python exception as an error of the contract: the one place where exceptions become categories.
 *
 *   MemoryError, or an accelerator's out-of-memory error          out_of_memory
 *   ValueError or a subclass, raised by the function's call       validation_error
 *   anything else                                                 processing_error, with the class name as type
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_FAILURE_H
#define ASYA_PYTHON_FAILURE_H

#include "base/error.h"
#include "wire/reply.h"

#include <Python.h>

struct failure {
    enum error_category category;
    size_t text_size;
    size_t type_size;
    char text[REPLY_TEXT_MAX]; /* what str(exception) says, cut; UTF-8, not NUL-terminated */
    char type[ERROR_TYPE_SIZE];
};

/* Takes the exception that is set: clears it and fills `ret_failure`. Logs one line with the traceback, at WARNING for
 * a validation_error and ERROR for the rest. Survives exceptions whose __str__ raises. */
void failure_take(struct failure *ret_failure);

/* str(object) as UTF-8 into `target`, cut to `size` - 1 bytes and NUL-terminated; a fixed text if that raises. Leaves
 * no exception set. Returns the length. */
size_t failure_text_of(PyObject *object, char *target, size_t size);

#endif
