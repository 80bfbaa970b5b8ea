/*
 * The user's function: from its name to a callable (docs/handlers.md).
 *
 *   pkg.module:name            the name in the module
 *   pkg.module                 `process` in the module
 *   pkg.module:Class.method    the class is instantiated once, without arguments
 *   pkg.module.Class.method    as ASYA_HANDLER names it: the longest part that can be imported is the module
 */
#ifndef ASYA_PYTHON_HANDLER_H
#define ASYA_PYTHON_HANDLER_H

#include "base/log.h"
#include "base/options.h"

#include <Python.h>

enum { HANDLER_NAME_MAX = 512 }; /* bytes of ASYA_PROCESS_MODULE */

/* Whether the function's name has one of the forms above: ASCII identifiers and nothing else, since it comes from
 * outside. Pure. False with `err`. */
bool handler_check_name(struct options *options, struct error *err);

/* Imports, resolves and, for a class, instantiates. Needs the GIL; runs the user's code. Returns EXIT_OK with a new
 * reference in `*ret_function`, and in `*ret_owner` one to the instance it belongs to or is, if any; or the exit code
 * of the failure, after a line of the log has named the cause, with the traceback. */
int handler_load(const struct options *options, PyObject **ret_function, PyObject **ret_owner);

/* Takes the exception that is set: logs "DOING 'NAME' raised ..." with its traceback. Returns EXIT_IMPORT. Needs the
 * GIL. */
int handler_fail(enum event event, const char *doing, const char *name);

#endif
