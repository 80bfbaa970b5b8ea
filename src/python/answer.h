/*
 * From a message's bytes to the bytes of its reply, through the user's function: the server's service in a worker.
 *
 *   a plain function             in the main thread, called by the server's loop, which is C
 *   the same, ASYA_CONCURRENCY   in threads (python/pool.h)
 *   a coroutine                  on the event loop (python/loop.h), which then runs the server
 *
 * The GIL is held only while Python objects are used.
 */
#ifndef ASYA_PYTHON_ANSWER_H
#define ASYA_PYTHON_ANSWER_H

#include "python/call.h"
#include "server/server.h"

/* The service over `binding`, which is borrowed and must not move. */
struct service answer_service(struct binding *binding);

/* Serves until the server's work is over. Needs the GIL. False with `err` if it cannot start. */
bool answer_serve(struct binding *binding, const struct server_config *config, struct error *err);

#endif
