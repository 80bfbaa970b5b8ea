/*
 * The function's own logging: what it logs with Python's `logging`, unless it configures that itself, appears in the
 * runtime's log, in its format, at its level and with the request's id; and an exception that it raises becomes a
 * `logging` record, so that error trackers see it.
 *
 * Importing `logging` takes 6 ms, which a function that does not use it should not pay. So a finder of ours on
 * sys.meta_path waits until the function imports it. Needs the GIL.
 */
#ifndef ASYA_PYTHON_LOG_H
#define ASYA_PYTHON_LOG_H

#include "base/log.h"
#include "python/raised.h"

#include <Python.h>

/* In a worker, before the user's code is imported. What cannot be installed is left out: the function logs as in any
 * other program then. `worker`: its number. `context` finds the request that a record is about: asya_runtime.context(),
 * without its warning, since a record may come from any thread. */
void function_log_install(enum log_level level, enum log_format format, uint32_t worker, PyObject *(*context)(void));

/* In a worker that the template has forked. */
void function_log_be_worker(uint32_t worker);

/* An exception that the function did not catch: one record of the logger "asya_runtime", at `level` and with exc_info,
 * if the program has imported `logging`. `line` is what the runtime's log says of it. Never leaves an exception set. */
void function_log_raised(enum log_level level, const char *line, const struct raised *raised);

/* POST /log-level: what the function logs has this level from now on, unless it has chosen one itself. Leaves no
 * exception. */
void function_log_set_level(enum log_level level);

#endif
