/* The command line. Needs the GIL and the main thread. */
#ifndef ASYA_APP_CLI_H
#define ASYA_APP_CLI_H

/* Runs the command that `arguments` (without the program's name) name; without arguments it serves. `program` is the
 * path by which the program was started (sys.argv[0]). Returns the exit code. */
int cli_run(const char *program, int count, const char *const *arguments);

#endif
