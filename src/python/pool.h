/*
 * Threads for plain functions, where a worker may serve several requests at once (ASYA_CONCURRENCY).
 *
 *   main thread   pool_submit: copies the message, wakes a thread               needs no GIL
 *   a thread      decodes, calls, encodes, puts the job into the outbox, server_wake()
 *   main thread   pool_collect: sends what is in the outbox                      needs no GIL
 *
 * So the thread of the server never waits for the interpreter: with the GIL held by a busy function that would be up to
 * 5 ms (sys.getswitchinterval) for each request. A generator's event takes the same way, and its thread waits until the
 * client has taken it. Coroutines go on to the loop, in the main thread (python/loop.h).
 *
 * The threads are Python's own (threading.Thread), so that threading.current_thread() and its like work in them.
 */
#ifndef ASYA_PYTHON_POOL_H
#define ASYA_PYTHON_POOL_H

#include "python/call.h"

/* Starts binding->concurrency threads. Needs the GIL. 0, or -1 with an exception. */
int pool_start(struct binding *binding);
bool pool_is_started(void);

/* Ends the threads, after what they run. Needs the GIL, and releases it while it waits. */
void pool_stop(void);

/* Gives a request to the threads. False if there is no memory for it. Needs no GIL. */
bool pool_submit(struct binding *binding, const struct request *request, size_t limit);

/* Sends what waits in the outbox. True if functions have returned something that the loop has to run: then
 * pool_take_coroutine gives their calls, one at a time. */
bool pool_collect(void);

/* A kept call, or NULL if there is none left. `*ret_thing` and `*ret_context`, both new references, are what its
 * function has returned and the context it ran in (may be NULL). Needs no GIL. */
struct call *pool_take_coroutine(PyObject **ret_thing, PyObject **ret_context);

#endif
