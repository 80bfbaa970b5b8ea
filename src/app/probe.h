/* The command `probe`: how a running runtime is, asked over its socket, for the probes of Kubernetes. */
#ifndef ASYA_APP_PROBE_H
#define ASYA_APP_PROBE_H

/*
 * Finds the socket by the same environment as the runtime. Prints one line to standard output.
 *
 *   --readiness (default), --startup   it takes messages: GET /healthz is answered 200, and the ready-file is there if
 *                                      the settings name one
 *   --liveness                         it answers at all: also "not ready" is an answer
 *
 * Where the socket does not speak HTTP (ASYA_PROTOCOL), an empty request must be answered; no answer while the
 * connection is accepted means that every worker is busy, which is healthy.
 *
 * Returns EXIT_OK, EXIT_FAILED for a runtime that is not as asked, EXIT_OPTION for a wrong argument or setting.
 */
int probe_run(const char *program, int count, const char *const *arguments);

#endif
