/* The command `check`: loads the function as a worker would, says what was found, serves nothing. */
#ifndef ASYA_APP_CHECK_H
#define ASYA_APP_CHECK_H

/* Under the same settings, working directory and limits as a worker. Prints one line to standard output; a failure is
 * logged as at a start. Set-up of the function's own (python/lifespan.h) is not run. Returns EXIT_OK or the exit code a
 * start would end with. Needs the GIL; runs the user's code. */
int check_run(const char *program, int count, const char *const *arguments);

#endif
