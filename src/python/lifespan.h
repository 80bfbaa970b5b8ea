/*
 * The user's set-up before the first request and tear-down after the last, by the names that are usual in Python.
 *
 *   function.preload(), or instance.preload()    once for all workers, where they are forked from a template
 *   function.after_fork(), or instance's         first in each worker
 *   function.setup()           before ready, if the function has such an attribute
 *   instance.__enter__()       before ready, for a class handler or callable instance that is a context manager;
 *   function.warmup(), or instance.warmup()      after these, as the last thing before ready
 *   instance.__exit__()        at a normal stop
 *   instance.close()           at a normal stop, if the instance is not a context manager
 *
 * Each may be a coroutine (or __aenter__, __aexit__, aclose): then it runs on the worker's event loop. Needs the GIL.
 */
#ifndef ASYA_PYTHON_LIFESPAN_H
#define ASYA_PYTHON_LIFESPAN_H

#include "python/call.h"

/* What all workers can share; no coroutine, since the event loop is a worker's own. As lifespan_begin(). */
int lifespan_preload(PyObject *function, PyObject *owner);

/* `owner` (borrowed, may be NULL) is the instance the function belongs to. Returns EXIT_OK, or the exit code of the
 * failure after one line that names it. */
int lifespan_begin(struct binding *binding, PyObject *owner);

/* Runs the tear-down. Exceptions are only logged, since no client waits for a reply. */
void lifespan_end(struct binding *binding, PyObject *owner);

/* Notes on the scoreboard (may be NULL) what the end of this process waits for from now on, for the line that says so
 * if it takes too long. lifespan_note_leftovers: what the interpreter will wait for. */
void lifespan_note(struct scoreboard *board, const char *what);
void lifespan_note_leftovers(struct scoreboard *board);

#endif
