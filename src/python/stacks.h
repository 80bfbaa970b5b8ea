/*
 * Shows where a call is that has run too long: writes the await chain of its task, or the stack of its thread, to the
 * pipe of stacks before the call is cancelled. faulthandler, which writes to the same pipe on STACK_SIGNAL, shows all
 * threads in any order and no waiting tasks; but it works even if the interpreter does not get to its signal handlers.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_STACKS_H
#define ASYA_PYTHON_STACKS_H

#include "python/call.h"

/* `pipe` stays the caller's: non-blocking. */
void stacks_use(int pipe);

/* Writes where `call` is. `frame`: what this thread runs, from the signal handler's arguments. What cannot be had or
 * written is left out. */
void stacks_write(const struct call *call, PyObject *frame);

/* Writes the await chains of all tasks of all running event loops. Leaves no exception set. */
void stacks_write_tasks(void);

#endif
