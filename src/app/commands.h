/*
 * The commands that are written in Python (inject/commands), and what they need from the extension.
 *
 * No message passes through them. The single file carries them as one compressed text that is unpacked when one of them
 * is called; the wheel has them as a package. Both set `_asya._commands`, a function that returns the package. Needs
 * the GIL.
 */
#ifndef ASYA_APP_COMMANDS_H
#define ASYA_APP_COMMANDS_H

#include <Python.h>

/* Adds these to the extension module, and keeps a pointer to the module:
 *
 *   _options()                   the table of settings: (name, value of the environment or None, default, meaning,
 *                                is it a switch)
 *   _refusal()                   why a start would refuse the settings of the environment, or ""
 *   _serve_foreground(fd, fd)    serve_foreground() of app/serve.h
 *   _single_value(bytes)         whether these bytes are one JSON value by its extent (json/scan.h), and nothing else
 *   _end_with_parent()           in a child before it execs: it gets SIGTERM when the thread that forked it ends
 *   _load(...)                   load_run() of server/load.h: the plan's members in their order; the tally as bytes,
 *                                or -errno
 *
 * 0, or -1 with an exception. */
int commands_add(PyObject *module);

/* Runs a command and returns its exit code. If the command has raised an exception (SystemExit included), that is set,
 * and main() raises it. */
int commands_run(const char *name, const char *program, int count, const char *const *arguments);

#endif
