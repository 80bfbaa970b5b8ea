/*
 * The one asyncio loop of a worker: made when the first coroutine appears, it lives as long as the worker, so clients
 * and tasks bound to it survive between requests. It runs in the main thread and waits on the server's own descriptor:
 * no thread, no polling (python/glue/loop.py).
 *
 * A worker that never meets a coroutine never imports asyncio.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_LOOP_H
#define ASYA_PYTHON_LOOP_H

#include "python/call.h"

/* Makes the loop, if there is none. 0, or -1 with an exception. */
int loop_open(struct binding *binding);
bool loop_is_open(void);

/* Runs the server in the loop until the server's work is over. After each loop_pause() the loop stops for `work`,
 * which calls plain functions: within a running loop asyncio.run() and run_until_complete() would fail in them. */
void loop_run(void (*work)(struct binding *binding));
void loop_pause(void);

/* Whether the calling code runs within the loop. */
bool loop_is_running(void);

/* Ends the tasks that are left, and closes the loop. */
void loop_close(void);

/* Takes over a call whose function has returned `thing` (taken over), a coroutine or an asynchronous generator; in
 * the main thread. True: it goes on as a task, which will send the reply; `call` is empty. False: the call is closed
 * and its reply complete, as after a plain function: it never had to wait, or could not begin. */
bool loop_take(struct call *call, PyObject *thing);

/* Runs an awaitable (borrowed) to its end, while the server does not run. New reference to its result, or NULL. */
PyObject *loop_settle(struct binding *binding, PyObject *awaitable);

#endif
