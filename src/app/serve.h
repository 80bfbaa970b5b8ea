/* The runtime as a whole: options, supervisor, workers. Needs the GIL and the main thread. */
#ifndef ASYA_APP_SERVE_H
#define ASYA_APP_SERVE_H

#include "base/options.h"

#include <stdbool.h>

/* Reads the settings, sets the log up by them and puts the working directory on sys.path. Returns false after logging
 * what is wrong with the settings. `ret_options` must not be moved (options_load). */
bool serve_prepare(struct options *ret_options);

/* Serves until stopped, with the settings of the environment. Returns the exit code of this process. It returns in each
 * worker too, since these are forked in it. */
int serve(void);

#endif
