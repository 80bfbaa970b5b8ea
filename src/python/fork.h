/*
 * Children that the function forks: by os.fork, multiprocessing, or a subprocess with a preexec_fn. Each closes its
 * copies of the runtime's descriptors before any code of the user's runs in it. A fork in C runs no hook;
 * fork_end_child() still ensures that such a child does not answer. Needs the GIL.
 */
#ifndef ASYA_PYTHON_FORK_H
#define ASYA_PYTHON_FORK_H

#include "server/server.h"

/* In a worker, before the user's module is imported: `let_go` is called in each child, once, with the server that
 * served in its parent, or NULL. What cannot be installed is logged; the worker serves without. */
void fork_install(void (*let_go)(struct server *server));

/* Around PyOS_AfterFork_Child() in a worker that the template has forked: it is no child of the function's. */
void fork_expect_worker(bool expected);

/* The template. fork_prepare: before the function is loaded. fork_settle, afterwards: collects the garbage, and tries
 * whether this process can be forked; false, with the reason in `text`, if not. fork_freeze: leaves what there is to be
 * shared. fork_is_stale: the module's file has changed. fork_renew, in a new worker: random numbers of its own. */
void fork_prepare(const char *module);
bool fork_settle(char *text, size_t size);
bool fork_is_stale(void);
void fork_renew(void);

/* The server that serves from now on; NULL: none. */
void fork_use_server(struct server *server);

/* To be called after each call of the user's code: ends the process if it is a fork that has returned as well, since
 * only one of the two processes may answer. */
void fork_end_child(void);

#endif
