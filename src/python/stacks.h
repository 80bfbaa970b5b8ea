/*
 * Where a call is that has run too long: the await chain of its task, or the stack of its thread, written to the pipe
 * of stacks before the call is told to stop. faulthandler, which writes there on STACK_SIGNAL, shows all threads in any
 * order, and nothing of a task that waits; but it works even while the interpreter does not get to its signals.
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

/* Writes where all tasks of all event loops are that run now. Leaves no exception. */
void stacks_write_tasks(void);

#endif
