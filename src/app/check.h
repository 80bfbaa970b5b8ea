/* The command `check`: loads the function as a worker would and prints what it found. Serves nothing. */
#ifndef ASYA_APP_CHECK_H
#define ASYA_APP_CHECK_H

/* With the settings, working directory and limits of a worker. Prints one line to standard output; a failure is logged
 * as at a start. Does not run the function's own set-up (python/lifespan.h). Returns EXIT_OK, or the exit code with
 * which a start would fail. Needs the GIL; runs the user's code. */
int check_run(const char *program, int count, const char *const *arguments);

#endif
