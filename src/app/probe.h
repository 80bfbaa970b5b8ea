/* The command `probe`: checks a running runtime over its socket, for the probes of Kubernetes. */
#ifndef ASYA_APP_PROBE_H
#define ASYA_APP_PROBE_H

/*
 * Finds the socket by the same variables as the runtime. Prints one line to standard output.
 *
 *   --readiness (default), --startup   it takes messages: GET /healthz is answered 200, and the ready-file is there if
 *                                      the settings name one
 *   --liveness                         it answers at all, also if it answers "not ready"
 *
 * If the socket does not speak HTTP (ASYA_PROTOCOL), it sends an empty request, which must be answered. If the
 * connection is accepted and no answer comes, every worker is busy, which counts as healthy.
 *
 * Returns EXIT_OK, EXIT_FAILED if the runtime is not ready or alive as asked, EXIT_OPTION for a wrong argument or
 * setting.
 */
int probe_run(const char *program, int count, const char *const *arguments);

#endif
