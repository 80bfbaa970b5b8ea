/* options: from any environment come settings within their limits, or one error that names a variable. */
#include "base/clock.h"
#include "base/options.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static const char *const names[] = {
    "ASYA_SOCKET_PATH",  "ASYA_PROCESS_MODULE", "ASYA_MAX_MESSAGE_SIZE", "ASYA_SOCKET_CHMOD",
    "ASYA_WORKERS",      "ASYA_READ_TIMEOUT",   "ASYA_WRITE_TIMEOUT",    "ASYA_STARTUP_TIMEOUT",
    "ASYA_GRACE_PERIOD", "ASYA_LOG_LEVEL",      "ASYA_LOG_FORMAT",       "ASYA_HANDLER",
    "ASYA_SOCKET_DIR",   "ASYA_SOCKET_NAME",    "ASYA_HANDLER_TIMEOUT",  "ASYA_CANCEL_ON_DISCONNECT",
    "ASYA_MAX_REQUESTS", "ASYA_MAX_RSS",        "ASYA_MEMORY_LIMIT",
};
enum { NAMES = sizeof names / sizeof names[0] };

#define LONGEST (8640001 * CLOCK_SECOND)

static void check(const struct options *options)
{
    bool mode =
        options->socket_mode == SOCKET_MODE_UMASK || (options->socket_mode >= 0 && options->socket_mode <= 0777);
    bool sizes = options->max_message_size >= 1 && options->max_message_size <= 150000000 && options->workers >= 1 &&
                 options->workers <= WORKERS_MAX;
    bool times = options->read_timeout >= 1 && options->read_timeout <= LONGEST && options->write_timeout >= 1 &&
                 options->write_timeout <= LONGEST && options->startup_timeout <= LONGEST &&
                 options->grace_period <= LONGEST && options->handler_timeout <= LONGEST;
    bool shares = options->max_rss.percent <= 100 && options->memory_limit.percent <= 100;
    bool words = options->log_level <= LOG_LEVEL_ERROR && options->log_format <= LOG_JSON;
    if (!mode || !sizes || !times || !shares || !words || options->socket_path[0] == '\0' ||
        options->ready_file == NULL || options->process_module == NULL) {
        abort();
    }
}

/* Each line of the input is a variable's number and its value; what a NUL cuts off is lost. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static struct options options;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    clearenv();
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        setenv(names[(unsigned char)line[0] % NAMES], line[0] != '\0' ? line + 1 : "", 1);
        line = end != NULL ? end + 1 : NULL;
    }
    struct error err = {0};
    if (options_load(&options, &err)) {
        check(&options);
    } else if (err.category != ERR_SERVER || strstr(err.text, "ASYA_") == NULL ||
               memchr(err.text, '\0', sizeof err.text) == NULL) {
        abort();
    }
    free(text);
    return 0;
}
