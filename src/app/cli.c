#include "app/cli.h"

#include "app/check.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/output.h"
#include "app/probe.h"
#include "app/serve.h"
#include "base/exits.h"
#include "base/log.h"
#include "base/unknown.h"

#include <stddef.h>
#include <string.h>

static int cli_serve(const char *program, int count, const char *const *arguments)
{
    struct error err;
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "--reload") == 0) {
            return commands_run("reload", program, count, arguments);
        }
    }
    if (!flags_take(count, arguments, true, &err)) {
        log_error(EVENT_COMMAND_FAILED, "%s", err.text);
        return EXIT_OPTION;
    }
    return serve();
}

/* `--brief`: the one line about the function, without the report. */
static int cli_check(const char *program, int count, const char *const *arguments)
{
    bool brief = count > 0 && strcmp(arguments[0], "--brief") == 0;
    int code = check_run(program, count - brief, arguments + brief);
    return code == EXIT_OK && !brief ? commands_run("report", program, 0, NULL) : code;
}

struct command {
    const char *name;
    int (*run)(const char *program, int count, const char *const *arguments); /* NULL: it is written in Python */
};

static const struct command commands[] = {
    {"serve", cli_serve}, {"check", cli_check}, {"probe", probe_run}, {"configmap", NULL},
    {"call", NULL},       {"run", NULL},        {"help", NULL},       {"completion", NULL},
    {"status", NULL},     {"top", NULL},        {"stacks", NULL},     {"log-level", NULL},
    {"drain", NULL},      {"undrain", NULL},    {"recycle", NULL},    {"bench", NULL},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static bool is_one_of(const char *text, const char *first, const char *second)
{
    return strcmp(text, first) == 0 || strcmp(text, second) == 0;
}

static int cli_refuse(const char *argument)
{
    const char *nearest = "";
    size_t least = strlen(argument) < UNKNOWN_NAME_MAX ? 3 : 0; /* so many letters differ at most */
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        size_t distance = unknown_distance(argument, commands[i].name);
        if (distance < least && distance < strlen(argument)) {
            least = distance;
            nearest = commands[i].name;
        }
    }
    log_error(EVENT_COMMAND_FAILED,
              "unknown argument '%s'; %s%s%susage: asya_runtime.py [--help | --version | COMMAND | --SETTING VALUE]",
              argument, nearest[0] != '\0' ? "did you mean " : "", nearest, nearest[0] != '\0' ? "? " : "");
    return EXIT_OPTION;
}

int cli_run(const char *program, int count, const char *const *arguments)
{
    if (count == 0) {
        return serve();
    }
    if (count == 1 && is_one_of(arguments[0], "--help", "-h")) {
        return commands_run("help", program, 0, NULL);
    }
    if (count == 1 && is_one_of(arguments[0], "--version", "-V")) {
        output_print("asya-runtime " ASYA_VERSION "\n");
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command *command = &commands[i];
        if (strcmp(arguments[0], command->name) == 0) {
            bool asks = count == 2 && is_one_of(arguments[1], "--help", "-h");
            return asks                   ? commands_run("help", program, 1, arguments)
                   : command->run != NULL ? command->run(program, count - 1, arguments + 1)
                                          : commands_run(command->name, program, count - 1, arguments + 1);
        }
    }
    if (strncmp(arguments[0], "--", 2) == 0 && !is_one_of(arguments[0], "--help", "--version")) {
        return cli_serve(program, count, arguments);
    }
    return cli_refuse(count > 1 && arguments[0][0] == '-' ? arguments[1] : arguments[0]);
}
