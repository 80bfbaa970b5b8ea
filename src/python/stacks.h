/*
 * Where a call is that has run too long, written to the pipe of stacks before it is told to stop: the await chain of
 * its task, or its thread. What faulthandler writes there on STACK_SIGNAL is of all threads, in no order of interest,
 * and of a task that waits it knows nothing; but it needs no interpreter that still gets to its signals.
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

#endif
