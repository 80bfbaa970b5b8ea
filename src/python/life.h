/*
 * Before the first request and after the last: set-up and tear-down of the user's, by the names Python has for them.
 *
 *   function.setup()           before ready, if the function has such an attribute
 *   instance.__enter__()       before ready, for a class handler or callable instance that is a context manager;
 *   instance.__exit__()        at a normal stop
 *   instance.close()           at a normal stop, if it is none
 *
 * Each may be a coroutine (or __aenter__, __aexit__, aclose): then it runs on the worker's event loop. Needs the GIL.
 */
#ifndef ASYA_PYTHON_LIFE_H
#define ASYA_PYTHON_LIFE_H

#include "python/call.h"

/* `owner` (borrowed, may be NULL) is the instance the function belongs to. Returns EXIT_OK, or the exit code of the
 * failure after one line that names it. */
int life_begin(struct binding *binding, PyObject *owner);

/* What these raise is logged: nobody waits for it. */
void life_end(struct binding *binding, PyObject *owner);

/* Notes on the page (may be NULL) what the end of this process waits for from now on, for the line that says so if it
 * takes too long. life_note_leftovers: what the interpreter will wait for. */
void life_note(struct status_page *page, const char *what);
void life_note_leftovers(struct status_page *page);

#endif
