/*
 * The calls whose function runs now, and cancelling them (server/cancel.h).
 *
 * CANCEL_SIGNAL's Python-level handler looks which of them the supervisor has cancelled, and tells each in the way its
 * place allows:
 *
 *   in the main thread   the exception is raised where the function is, between two bytecodes or out of an interrupted
 *                        sleep or read
 *   in a thread          the same, asynchronously: between two bytecodes only
 *   as a task            task.cancel(), as asyncio does it; if the task holds up the loop, the exception is raised
 *
 * So the function can clean up with `finally` and `with`. The exceptions derive from BaseException, as
 * asyncio.CancelledError does, so that an `except Exception` in a retry loop does not swallow them.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_ACTIVE_H
#define ASYA_PYTHON_ACTIVE_H

#include "python/call.h"

/* Makes the exception classes HandlerTimeout, ClientGone and ShuttingDown and adds them to `module`. 0, or -1 with an
 * exception. */
int active_add_exceptions(PyObject *module);

/* In a worker: installs the signal handlers, and has crashes and STACK_SIGNAL write the Python stacks to `stack`, which
 * stays the caller's. What cannot be installed is logged; the worker serves without it. */
void active_install(int stack);

/* While `server` (NULL: none) is waited for, a cancellation wakes it: a signal that comes just before the wait would
 * else be looked at only when something else happens. */
void active_wake(struct server *server);

/* Whether a cancellation has come since the last time: then signals are to be checked. Needs no GIL. */
bool active_has_news(void);

/* The function is about to run in this thread. */
void active_add(struct call *call);

/* It has ended. Says whether, and why (enum cancel_reason), the call was cancelled; 0 if it was not. */
uint32_t active_remove(struct call *call);

/* Why a call is cancelled, so far; 0 if it is not. */
uint32_t active_reason(const struct call *call);

/* Whether the exception that is set is how this call was told that its client is gone: what it should raise then. */
bool active_is_obeyed(const struct call *call);

/* The call this thread runs, other than as a task; NULL if there is none. */
struct call *active_here(void);

/* The client of this call is gone: tells the function now. */
void active_tell_gone(struct call *call);

/* The function learns it in another way, in this thread: no exception follows, nor one that it had not come to yet.
 * What it runs now is its clean-up. */
void active_told(struct call *call);

#endif
