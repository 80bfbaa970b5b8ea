#include "app/cli.h"

#include "app/check.h"
#include "app/configmap.h"
#include "app/output.h"
#include "app/probe.h"
#include "app/serve.h"
#include "base/exits.h"
#include "base/log.h"
#include "base/options.h"

#include <stddef.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(const char *program, int count, const char *const *arguments);
    const char *help;
};

static const struct command commands[] = {
    {"check", check_run,
     "  check\n"
     "                         load the function as a start would and say what was found\n"},
    {"probe", probe_run,
     "  probe [--readiness | --liveness | --startup] [--timeout SECONDS]\n"
     "                         ask a running runtime how it is: exit code 0 or 1, and one line\n"},
    {"configmap", configmap_run,
     "  configmap [--name NAME] [--namespace NAMESPACE] [--machine x86_64|aarch64|all]\n"
     "                         print this file as a Kubernetes ConfigMap, for `kubectl apply -f -`\n"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_help(void)
{
    output_print("usage: asya_runtime.py [--help | --version | COMMAND]\n"
                 "\n"
                 "Serves a Python function to an Asya sidecar over a Unix socket. Without arguments it serves until\n"
                 "SIGTERM or SIGINT.\n"
                 "\n"
                 "commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        output_print(commands[i].help);
    }
    output_print("\nsettings are environment variables:\n");
    options_print_help();
    output_print("\n"
                 "try it:  ASYA_SOCKET_PATH=/tmp/app.sock python3 asya_runtime.py &\n"
                 "         echo '{\"hello\":\"world\"}' | nc -UN /tmp/app.sock\n");
}

static bool is_one_of(const char *text, const char *first, const char *second)
{
    return strcmp(text, first) == 0 || strcmp(text, second) == 0;
}

int cli_run(const char *program, int count, const char *const *arguments)
{
    if (count == 0) {
        return serve();
    }
    if (count == 1 && is_one_of(arguments[0], "--help", "-h")) {
        print_help();
        return EXIT_OK;
    }
    if (count == 1 && is_one_of(arguments[0], "--version", "-V")) {
        output_print("asya-runtime " ASYA_VERSION "\n");
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(arguments[0], commands[i].name) == 0) {
            return commands[i].run(program, count - 1, arguments + 1);
        }
    }
    const char *unknown = count > 1 && arguments[0][0] == '-' ? arguments[1] : arguments[0];
    log_error(EVENT_COMMAND_FAILED,
              "unknown argument '%s'; usage: asya_runtime.py [--help | --version | check | probe | configmap]",
              unknown);
    return EXIT_OPTION;
}
