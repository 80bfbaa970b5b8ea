/*
 * State mounts (docs/mounts.md): ASYA_STATE_PROXY_MOUNTS. They are implemented in Python, in inject/commands/mounts.py,
 * which is not even unpacked if the variable is not set. Needs the GIL.
 */
#ifndef ASYA_PYTHON_MOUNTS_H
#define ASYA_PYTHON_MOUNTS_H

#include "base/options.h"

#include <Python.h>

/* The extension, whose `_commands()` gives the package with these sources (app/commands.h). Remembered. */
void mounts_use(PyObject *extension);

/* Loads the code and reads the variable; nothing is changed yet, so a supervisor may call it before it forks. EXIT_OK,
 * or the exit code of a failure that is logged: without its mounts the function must not start, since what it writes
 * there would stay on this machine's disk. */
int mounts_prepare(const struct options *options);

/* Puts the mounts into this process. To be called before the function's module is imported. As mounts_prepare(). */
int mounts_install(void);

#endif
