/*
 * A failed request as an error of docs/errors.md: the one place where exceptions become categories.
 *
 *   MemoryError, or a library's own error for it (memory_phrases)  out_of_memory
 *   ValueError or a subclass, raised by the function's call       validation_error
 *   anything else                                                 processing_error, with the class name as type
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_FAILURE_H
#define ASYA_PYTHON_FAILURE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "python/raised.h"
#include "wire/reply.h"

#include <Python.h>

#include <stdbool.h>

enum {
    FAILURE_MRO_SIZE = 1024,        /* bytes of all names; what does not fit is left out */
    FAILURE_TRACEBACK_SIZE = 16384, /* bytes; a longer one loses its beginning */
};

struct failure {
    enum error_category category;
    size_t text_size;
    size_t type_size;
    char text[REPLY_TEXT_MAX];  /* what str(exception) says, cut, a bare key with its class ("KeyError: 'missing'");
                                 * UTF-8, NUL-terminated */
    char type[ERROR_TYPE_SIZE]; /* __name__ of its class */
    char name[ERROR_TYPE_SIZE]; /* qualified name of its class, without `builtins.` */
    char mro[FAILURE_MRO_SIZE]; /* the same of its ancestors but BaseException and object, each with its NUL */
    size_t mro_size;
    char traceback[FAILURE_TRACEBACK_SIZE]; /* NUL-terminated */
};

/* Takes the exception that is set: clears it and fills `ret_failure`. Logs one line with the traceback and `about`, at
 * WARNING for a validation_error and ERROR for the rest; at DEBUG if it is `expected`. Survives exceptions whose
 * __str__ raises. If `err` is not NULL, the exception was raised while a result was written, and `err`
 * says where: so it is not the sender's fault.
 */
void failure_take(const struct log_facts *about, bool expected, const struct error *err, struct failure *ret_failure);

/* The same for an error of the runtime's own (a message that cannot be decoded, a result that cannot be written, a time
 * that is over): named as the exception a Python program would have got. Logs one line; WARNING for what is the
 * client's mistake. */
void failure_take_error(const struct log_facts *about, const struct error *err, struct failure *ret_failure);

/* The traceback as Python prints it, NUL-terminated; its end if it is too long. Leaves no exception set. */
void failure_write_traceback(const struct raised *raised, char *target, size_t size);

/* The part of such a traceback for a log record: NULL if it has only one line, which has no frame of the user's code
 * and only repeats the record's message. */
const char *failure_frames(const char *traceback);

/* Replaces the content of `out` by the error reply (wire/reply.h); on failure (memory, limit) leaves it empty. */
void failure_write(const struct failure *failure, enum protocol protocol, bool before_call, struct buffer *out);

/* str(object) as UTF-8 into `target`, cut to `size` - 1 bytes and NUL-terminated; a fixed text if that raises. Leaves
 * no exception set. Returns the length. */
size_t failure_text_of(PyObject *object, char *target, size_t size);

#endif
