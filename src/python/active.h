/*
 * The calls whose function runs now, and cancelling them (server/cancel.h).
 *
 * The Python-level handler of CANCEL_SIGNAL looks for calls that the supervisor has cancelled, and tells each of them
 * by its runner's cancel() (python/call.h):
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

/* Calls `method` in the main thread after a signal, and wakes a server that waits there. `flags` are added to
 * those of the handler (sigaction(2)). False with an exception, or without one. */
bool active_install_handler(int number, PyMethodDef *method, int flags);

/* From now on a cancellation wakes `server` (NULL: none). Without that, a signal that comes just before the server
 * begins to wait would be noticed only when something else happens. */
void active_wake(struct server *server);

/* True once after a cancellation has arrived: then the caller must let Python run its signal handlers. Needs no GIL. */
bool active_take_news(void);

/* The function is about to run in this thread. */
void active_add(struct call *call);

/* It has ended. Returns why the call was cancelled (enum cancel_reason), or 0 if it was not. */
uint32_t active_remove(struct call *call);

/* The same for a function that still runs. */
uint32_t active_reason(const struct call *call);

/* Whether the function has ended by the exception that told it that its client is gone. That exception is set. */
bool active_is_obeyed(const struct call *call);

/* The call this thread runs, other than as a task; NULL if there is none. */
struct call *active_here(void);

/* Whether any function runs. */
bool active_any(void);

/* The client of this call is gone: cancels the function now. */
void active_tell_gone(struct call *call);

/* The function is being cancelled by this thread in another way, such as closing its generator. So no exception must
 * follow, and one that is pending is withdrawn: it would interrupt the clean-up. */
void active_told(struct call *call);

#endif
