/* The command line. Needs the GIL and the main thread. */
#ifndef ASYA_APP_CLI_H
#define ASYA_APP_CLI_H

/* Runs what `arguments` (without the program's name) ask for; nothing asks for serving. `program` is the path of the
 * program as it was started (sys.argv[0]). Returns the exit code. */
int cli_run(const char *program, int count, const char *const *arguments);

#endif
