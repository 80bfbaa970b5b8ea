#include "app/cli.h"

#include "app/serve.h"
#include "base/exits.h"
#include "base/log.h"
#include "base/options.h"

#include <string.h>
#include <unistd.h>

static void print(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0) {
        return; /* nobody reads it */
    }
}

static void print_help(void)
{
    print("usage: asya_runtime.py [--help | --version]\n"
          "\n"
          "Serves a Python function to an Asya sidecar over a Unix socket: one JSON message a connection.\n"
          "Without arguments it serves until SIGTERM or SIGINT. All settings are environment variables:\n"
          "\n");
    options_print_help();
    print("\n"
          "try it:  ASYA_SOCKET_PATH=/tmp/app.sock python3 asya_runtime.py &\n"
          "         echo '{\"hello\":\"world\"}' | nc -UN /tmp/app.sock\n");
}

int cli_run(int count, const char *const *arguments)
{
    if (count == 0) {
        return serve();
    }
    if (count == 1 && (strcmp(arguments[0], "--help") == 0 || strcmp(arguments[0], "-h") == 0)) {
        print_help();
        return EXIT_OK;
    }
    if (count == 1 && strcmp(arguments[0], "--version") == 0) {
        print("asya-runtime " ASYA_VERSION "\n");
        return EXIT_OK;
    }
    log_error("unknown argument '%s': see --help", arguments[count > 1 && arguments[0][0] == '-' ? 1 : 0]);
    return EXIT_OPTION;
}
