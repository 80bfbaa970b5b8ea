/* The command line. Needs the GIL and the main thread. */
#ifndef ASYA_APP_CLI_H
#define ASYA_APP_CLI_H

/* Runs what `arguments` (without the program's name) ask for; nothing asks for serving. Returns the exit code. */
int cli_run(int count, const char *const *arguments);

#endif
