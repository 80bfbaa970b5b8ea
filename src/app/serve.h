/* The runtime as a whole: options, supervisor, workers. Needs the GIL and the main thread. */
#ifndef ASYA_APP_SERVE_H
#define ASYA_APP_SERVE_H

#include "base/options.h"

#include <stdbool.h>

/* Reads the settings, sets the log up by them, puts the working directory on sys.path and prepares the state mounts.
 * Returns false after logging what is wrong with the settings. `ret_options` must not be moved (options_load). */
bool serve_prepare(struct options *ret_options);

/* Serves in this process, without a supervisor: as a worker would, but with the terminal's input, Python's own signal
 * handlers and no time limits, so that a debugger can be used. `listener` is a listening Unix socket, and it ends when
 * the other end of `control` (a SOCK_SEQPACKET socketpair) is closed. Both are borrowed. Returns EXIT_OK, or the exit
 * code with which a start would fail. */
int serve_foreground(int listener, int control);

/* Serves until stopped, with the settings of the environment. Returns the exit code of this process. It returns in each
 * worker too, since these are forked in it. */
int serve(void);

#endif
