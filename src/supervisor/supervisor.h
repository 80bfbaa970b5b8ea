/*
 * The supervisor: owns the socket, the signals and the worker processes; never runs the user's code
 * (docs/architecture.md, "The processes").
 *
 * One thread, and no allocation after the start. Workers are forked without exec, so they share the memory of what the
 * interpreter has loaded; the supervisor's own memory stays that of a bare interpreter.
 *
 *   STARTING --first worker ready: socket published--> SERVING --signal, or the socket is lost--> STOPPING --> exit
 *       |                                                                                            ^
 *       +--- a worker could not load the function: its exit code is ours ----------------------------+
 */
#ifndef ASYA_SUPERVISOR_SUPERVISOR_H
#define ASYA_SUPERVISOR_SUPERVISOR_H

#include "base/options.h"
#include "supervisor/worker.h"

/* Runs until stopped. Returns the exit code of the process: in the supervisor, and, since workers are forked here, in
 * each worker as well. `options` is borrowed. Call from the main thread of a process without other threads. */
int supervisor_run(const struct options *options, const struct worker_hooks *hooks);

#endif
