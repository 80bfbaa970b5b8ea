#include "base/options.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/text.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum option_kind { KIND_TEXT, KIND_BYTES, KIND_COUNT, KIND_SECONDS, KIND_WORD, KIND_SWITCH, KIND_MEMORY, KIND_UIDS };

/* A word that a setting accepts, in upper or lower case, and the value of the field, an unsigned, for it. */
struct word {
    const char *text;
    unsigned value;
    bool is_alias; /* accepted because Asya's own runtime accepts it, but not listed in messages */
};

struct option {
    const char *name;
    enum option_kind kind;
    size_t offset; /* of the field, in struct options */
    uint64_t least;
    uint64_t most;
    const char *fallback;
    const char *help;
    const struct word *words; /* KIND_WORD: the words that are allowed; ends with a NULL */
};

#define FIELD(name) offsetof(struct options, name)

/* 100 days is longer than any useful deadline. Sizes stay below the lengths whose first byte would look like another
 * protocol (wire/detect.h). */
enum { LONGEST_SPAN_SECONDS = 8640000, LEAST_MEMORY = 1 << 20 };
#define LARGEST_MESSAGE UINT64_C(150000000)

#define WORD(text, value)                                                                                              \
    {                                                                                                                  \
        text, value, false                                                                                             \
    }
#define ALIAS(text, value)                                                                                             \
    {                                                                                                                  \
        text, value, true                                                                                              \
    }
#define WORDS_END                                                                                                      \
    {                                                                                                                  \
        NULL, 0, false                                                                                                 \
    }

static const struct word protocols[] = {WORD("auto", 0), WORD("raw", 1), WORD("framed", 2), WORD("http", 3), WORDS_END};
static const struct word modes[] = {WORD("payload", HANDLER_PAYLOAD), WORD("envelope", HANDLER_ENVELOPE), WORDS_END};
static const struct word generations[] = {WORD("current", GENERATION_CURRENT), WORD("0.5.1", GENERATION_0_5_1),
                                          ALIAS("v0.5.1", GENERATION_0_5_1), WORDS_END};
static const struct word argument_types[] = {WORD("payload", HANDLER_PAYLOAD), WORD("message", HANDLER_ENVELOPE),
                                             WORDS_END};
static const struct word formats[] = {WORD("text", LOG_TEXT), WORD("json", LOG_JSON), WORDS_END};
static const struct word access_logs[] = {WORD("off", ACCESS_OFF), WORD("sampled", ACCESS_SAMPLED),
                                          WORD("all", ACCESS_ALL), WORDS_END};
static const struct word levels[] = {
    WORD("DEBUG", LOG_LEVEL_DEBUG),  WORD("INFO", LOG_LEVEL_INFO),     WORD("WARNING", LOG_LEVEL_WARNING),
    WORD("ERROR", LOG_LEVEL_ERROR),  ALIAS("WARN", LOG_LEVEL_WARNING), ALIAS("CRITICAL", LOG_LEVEL_ERROR),
    ALIAS("FATAL", LOG_LEVEL_ERROR), ALIAS("NOTSET", LOG_LEVEL_DEBUG), WORDS_END};
static const struct word switches[] = {WORD("true", 1), WORD("false", 0), ALIAS("1", 1),
                                       ALIAS("0", 0),   ALIAS("yes", 1),  ALIAS("no", 0),
                                       ALIAS("on", 1),  ALIAS("off", 0),  WORDS_END};

static const struct option table[] = {
    {"ASYA_SOCKET_PATH", KIND_TEXT, FIELD(socket_path), 0, 0, "/tmp/sockets/app.sock",
     "the Unix socket, at most 107 bytes", NULL},
    {"ASYA_PROCESS_MODULE", KIND_TEXT, FIELD(process_module), 0, 0, "",
     "the function: pkg.module:name, pkg.module (name `process`) or pkg.module:Class.method; unset: echo", NULL},
    {"ASYA_MAX_MESSAGE_SIZE", KIND_BYTES, FIELD(max_message_size), 1, LARGEST_MESSAGE, "10485760", "bytes of a request",
     NULL},
    {"ASYA_SOCKET_CHMOD", KIND_TEXT, FIELD(socket_mode_text), 0, 0, NULL,
     "mode of the socket, octal; empty: leave it to the umask (default 0o660, with ASYA_HANDLER or "
     "ASYA_SOCKET_DIR/NAME 0o666)",
     NULL},
    {"ASYA_WORKERS", KIND_COUNT, FIELD(workers), 1, WORKERS_MAX, "1", "worker processes", NULL},
    {"ASYA_SPARES", KIND_COUNT, FIELD(spares), 0, WORKERS_MAX, "0",
     "further workers, loaded to take the place of one that dies or is replaced (default 1 with ASYA_PRELOAD)", NULL},
    {"ASYA_PRELOAD", KIND_SWITCH, FIELD(preload), 0, 0, "false",
     "load the function once, in a template that workers are forked from and share memory with: true or false", NULL},
    {"ASYA_CONCURRENCY", KIND_COUNT, FIELD(concurrency), 1, CONCURRENCY_MAX, "1",
     "requests at once per worker: threads for a plain function, tasks on one event loop for an async one", NULL},
    {"ASYA_PROTOCOL", KIND_WORD, FIELD(protocol), 0, 0, "auto",
     "auto (the first byte tells), raw (bare JSON), framed (length prefix) or http", protocols},
    {"ASYA_ENABLE_VALIDATION", KIND_SWITCH, FIELD(enable_validation), 0, 0, "true",
     "check route, headers and id of a message that has them: true or false", NULL},
    {"ASYA_HANDLER_MODE", KIND_WORD, FIELD(handler_mode), 0, 0, "payload",
     "what the function takes and returns: payload, or envelope (the whole message; length prefix only)", modes},
    {"ASYA_HANDLER_ARG_TYPE", KIND_WORD, FIELD(handler_argument), 0, 0, "payload",
     "the older name of ASYA_HANDLER_MODE: payload or message", argument_types},
    {"ASYA_GENERATION", KIND_WORD, FIELD(generation), 0, 0, "current",
     "the sidecar: current, or 0.5.1 (over HTTP one reply to a generator, and envelope mode)", generations},
    {"ASYA_TYPED_PAYLOADS", KIND_SWITCH, FIELD(typed_payloads), 0, 0, "true",
     "read payloads by the function's annotation: true or false", NULL},
    {"ASYA_READ_TIMEOUT", KIND_SECONDS, FIELD(read_timeout), 1, 0, "30", "seconds for a whole request to arrive", NULL},
    {"ASYA_KEEPALIVE_TIMEOUT", KIND_SECONDS, FIELD(keepalive_timeout), 0, 0, "0",
     "seconds a kept HTTP connection may be idle; 0: four times ASYA_READ_TIMEOUT", NULL},
    {"ASYA_WRITE_TIMEOUT", KIND_SECONDS, FIELD(write_timeout), 1, 0, "30",
     "seconds for the client to read a reply; for a stream, the sum of all its waits", NULL},
    {"ASYA_HANDLER_TIMEOUT", KIND_SECONDS, FIELD(handler_timeout), 0, 0, "0",
     "seconds the function may run for one message; 0: no limit", NULL},
    {"ASYA_HANDLER_GRACE", KIND_SECONDS, FIELD(handler_grace), 0, 0, "1",
     "seconds for a function to clean up after its time limit, before its worker is killed", NULL},
    {"ASYA_CANCEL_ON_DISCONNECT", KIND_SWITCH, FIELD(cancel_on_disconnect), 0, 0, "true",
     "raise an exception in the function when its client goes away: true or false", NULL},
    {"ASYA_HEALTHCHECK_INTERVAL", KIND_SECONDS, FIELD(healthcheck_interval), 1, 0, "10",
     "seconds between two calls of the function's own health check, if it has one", NULL},
    {"ASYA_HEALTHCHECK_TIMEOUT", KIND_SECONDS, FIELD(healthcheck_timeout), 1, 0, "5",
     "seconds such a call may take before the runtime counts as not ready", NULL},
    {"ASYA_STARTUP_TIMEOUT", KIND_SECONDS, FIELD(startup_timeout), 0, 0, "0",
     "seconds the function's import may take; 0: no limit", NULL},
    {"ASYA_GRACE_PERIOD", KIND_SECONDS, FIELD(grace_period), 0, 0, "25",
     "seconds for requests to finish at a stop, and for a replaced worker to end after its last one", NULL},
    {"ASYA_MAX_REQUESTS", KIND_COUNT, FIELD(max_requests), 0, UINT64_MAX, "0",
     "replace a worker after this many messages, once the next one is ready; 0: never", NULL},
    {"ASYA_MAX_RSS", KIND_MEMORY, FIELD(max_rss), LEAST_MEMORY, 0, "0",
     "replace a worker whose memory exceeds this: bytes, or a share of the container's limit like 80%; 0: never", NULL},
    {"ASYA_MEMORY_LIMIT", KIND_MEMORY, FIELD(memory_limit), LEAST_MEMORY, 0, "0",
     "bytes (or share) of data a worker may allocate before it gets MemoryError; 0: no limit", NULL},
    {"ASYA_MAX_BUFFERED", KIND_MEMORY, FIELD(max_buffered), 0, 0, "0",
     "bytes (or share) of requests that arrive or wait, in one worker: beyond it large ones are read one after the "
     "other; 0: a quarter of a worker's memory, or 256 MiB if that is not known",
     NULL},
    {"ASYA_ALLOWED_UIDS", KIND_UIDS, FIELD(allowed_uids), 0, 0, "",
     "user ids that may connect, separated by commas (the runtime's own always may); unset: anybody whom the socket's "
     "mode lets in",
     NULL},
    {"ASYA_CONTROL_PATH", KIND_TEXT, FIELD(control_text), 0, 0, "",
     "the control socket, for this user only: HTTP for status, stacks, drain and so on; off: none (the socket's path "
     "with .ctl behind it)",
     NULL},
    {"ASYA_HTTP_ADDR", KIND_TEXT, FIELD(http_address), 0, 0, "",
     "a TCP address for the GETs of the control socket: :9100, 127.0.0.1:9100 or [::1]:9100; unset: none", NULL},
    {"ASYA_RECORD_DIR", KIND_TEXT, FIELD(record_dir), 0, 0, "",
     "a folder for failed requests, one file each, which `call @FILE` sends again; they contain payloads; unset: off",
     NULL},
    {"ASYA_LOG_LEVEL", KIND_WORD, FIELD(log_level), 0, 0, "INFO", "DEBUG, INFO, WARNING or ERROR", levels},
    {"ASYA_LOG_FORMAT", KIND_WORD, FIELD(log_format), 0, 0, "text", "text or json", formats},
    {"ASYA_ACCESS_LOG", KIND_WORD, FIELD(access_log), 0, 0, "off",
     "a line for each request: off, sampled (one in 100, and all failures) or all", access_logs},
    {"ASYA_CAPTURE_OUTPUT", KIND_SWITCH, FIELD(capture_output), 0, 0, "false",
     "turn what the function, its libraries and its programs print into log records: true or false", NULL},
    {"ASYA_HANDLER", KIND_TEXT, FIELD(handler), 0, 0, "",
     "the function as newer Asya versions name it: pkg.module.func or pkg.module.Class.method", NULL},
    {"ASYA_SOCKET_DIR", KIND_TEXT, FIELD(socket_dir), 0, 0, "",
     "folder of the socket when ASYA_SOCKET_PATH is not set (/var/run/asya with ASYA_HANDLER)", NULL},
    {"ASYA_SOCKET_NAME", KIND_TEXT, FIELD(socket_name), 0, 0, "",
     "file name of the socket in that folder (asya-runtime.sock)", NULL},
    {"ASYA_STATE_PROXY_MOUNTS", KIND_TEXT, FIELD(state_mounts), 0, 0, "",
     "files stored elsewhere: name:/path:write=buffered or =passthrough, separated by ;", NULL},
    {"ASYA_STATE_PROXY_DIR", KIND_TEXT, FIELD(state_folder), 0, 0, "/var/run/asya/state",
     "where the sockets of their connectors are, name.sock", NULL},
};

enum { OPTION_COUNT = sizeof table / sizeof table[0] };

static bool options_is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits and nothing else. */
static bool options_parse_number(const char *text, uint64_t *ret_value)
{
    uint64_t value;
    const char *end = text_number(text, &value);
    if (end == NULL || *end != '\0') {
        return false;
    }
    *ret_value = value;
    return true;
}

/* Bytes: a number, or one with Ki, Mi or Gi behind it (powers of 1024, as Kubernetes writes them). */
static bool parse_bytes(const char *text, uint64_t *ret_bytes)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"Ki", 10}, {"Mi", 20}, {"Gi", 30}};
    char digits[24];
    size_t size = strlen(text);
    unsigned shift = 0;
    if (size == 0 || size >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, size + 1);
    for (size_t i = 0; size > 2 && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(digits + size - 2, units[i].suffix) == 0) {
            digits[size - 2] = '\0';
            shift = units[i].shift;
            break;
        }
    }
    uint64_t number;
    if (!options_parse_number(digits, &number) || number > UINT64_MAX >> shift) {
        return false;
    }
    *ret_bytes = number << shift;
    return true;
}

bool options_parse_seconds(const char *text, uint64_t *ret_span)
{
    uint64_t seconds = 0;
    if (!options_is_digit(*text)) {
        return false;
    }
    for (; options_is_digit(*text); text++) {
        seconds = seconds * 10 + (uint64_t)(*text - '0');
        if (seconds > LONGEST_SPAN_SECONDS) {
            return false;
        }
    }
    uint64_t fraction = 0;
    if (*text == '.') {
        uint64_t unit = CLOCK_SECOND / 10;
        for (text++; options_is_digit(*text); text++) {
            fraction += (uint64_t)(*text - '0') * unit;
            unit /= 10;
        }
    }
    *ret_span = seconds * CLOCK_SECOND + fraction;
    return *text == '\0';
}

/* Bytes, or a percentage from 1% to 100%. Fewer than `least` are a percentage or mebibytes that lack their sign. */
static bool parse_memory(const char *text, uint64_t least, struct option_memory *ret_memory)
{
    char digits[24];
    size_t size = strlen(text);
    if (size == 0 || size >= sizeof digits) {
        return false;
    }
    bool is_share = text[size - 1] == '%';
    memcpy(digits, text, size + 1);
    if (is_share) {
        digits[size - 1] = '\0';
    }
    uint64_t number;
    if (is_share ? !options_parse_number(digits, &number) || number < 1 || number > 100
                 : !parse_bytes(digits, &number) || (number > 0 && number < least)) {
        return false;
    }
    *ret_memory = (struct option_memory){.bytes = is_share ? 0 : number, .percent = is_share ? number : 0};
    return true;
}

/* "1000" or "0,1000": user ids separated by commas, at most UIDS_MAX; "" is an empty list. */
static bool parse_uids(const char *text, struct option_uids *ret_uids)
{
    struct option_uids uids = {0};
    while (*text != '\0') {
        char digits[12];
        size_t size = strcspn(text, ",");
        uint64_t uid;
        if (size >= sizeof digits || uids.count == UIDS_MAX) {
            return false;
        }
        memcpy(digits, text, size);
        digits[size] = '\0';
        if (!options_parse_number(digits, &uid) ||
            uid >= UINT32_MAX) { /* the largest number is not a user id (chown(2)) */
            return false;
        }
        uids.uids[uids.count++] = (uint32_t)uid;
        text += size;
        if (*text == ',' && *++text == '\0') {
            return false;
        }
    }
    *ret_uids = uids;
    return true;
}

/* "0o660", "0660" or "660": permission bits only. */
static bool parse_mode(const char *text, int *ret_mode)
{
    int mode = 0;
    if (strncmp(text, "0o", 2) == 0) {
        text += 2;
    }
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '7') {
            return false;
        }
        mode = mode * 8 + (*text - '0');
        if (mode > 0777) {
            return false;
        }
    }
    *ret_mode = mode;
    return true;
}

static const struct word *find_word(const char *text, const struct word *words)
{
    for (; words->text != NULL; words++) {
        if (strcasecmp(text, words->text) == 0) {
            return words;
        }
    }
    return NULL;
}

/* The words to list in a message, as "a, b or c". */
static void list_words(const struct word *words, char *target, size_t size)
{
    size_t used = 0;
    target[0] = '\0';
    for (; words->text != NULL && !words->is_alias && used < size; words++) {
        bool is_last = words[1].text == NULL || words[1].is_alias;
        const char *before = used == 0 ? "" : is_last ? " or " : ", ";
        int length = snprintf(target + used, size - used, "%s%s", before, words->text);
        used += length > 0 ? (size_t)length : 0;
    }
}

static bool options_bad(struct error *err, const struct option *option, const char *text, const char *wanted)
{
    char shown[128];
    text_copy(shown, sizeof shown, text);
    return error_set(err, ERR_SERVER, 0, "%s is '%s'%s, should be %s", option->name, shown,
                     strlen(text) >= sizeof shown ? "..." : "", wanted);
}

static bool store(struct options *options, const struct option *option, const char *text, struct error *err)
{
    void *field = (char *)options + option->offset;
    uint64_t number = 0;
    const struct word *word;
    switch (option->kind) {
    case KIND_TEXT:
        memcpy(field, &text, sizeof text);
        return true;
    case KIND_BYTES:
    case KIND_COUNT:
        if (!(option->kind == KIND_BYTES ? parse_bytes(text, &number) : options_parse_number(text, &number)) ||
            number < option->least || number > option->most) {
            char wanted[128];
            (void)snprintf(wanted, sizeof wanted, "a whole number%s from %llu to %llu",
                           option->kind == KIND_BYTES ? " of bytes, like 1048576 or 1Mi," : "",
                           (unsigned long long)option->least, (unsigned long long)option->most);
            return options_bad(err, option, text, wanted);
        }
        memcpy(field, &number, sizeof number);
        return true;
    case KIND_SECONDS:
        if (!options_parse_seconds(text, &number) || number < option->least) {
            return options_bad(err, option, text,
                               option->least > 0 ? "a number of seconds greater than 0, like 30 or 0.5"
                                                 : "a number of seconds, like 30 or 0.5");
        }
        memcpy(field, &number, sizeof number);
        return true;
    case KIND_MEMORY:
        if (!parse_memory(text, option->least, field)) {
            return options_bad(err, option, text,
                               "a number of bytes (512Mi), or a share of the container's limit from 1% to 100%");
        }
        return true;
    case KIND_UIDS:
        if (!parse_uids(text, field)) {
            return options_bad(err, option, text, "at most 32 user ids, separated by commas");
        }
        return true;
    case KIND_SWITCH:
        word = find_word(text, switches);
        if (word == NULL) {
            return options_bad(err, option, text, "true or false");
        }
        *(bool *)field = word->value == 1;
        return true;
    case KIND_WORD:
        word = find_word(text, option->words);
        if (word == NULL) {
            char wanted[64];
            list_words(option->words, wanted, sizeof wanted);
            return options_bad(err, option, text, wanted);
        }
        memcpy(field, &word->value, sizeof word->value);
        return true;
    }
    return error_set(err, ERR_SERVER, 0, "%s is of no known kind", option->name);
}

static bool compose(char *target, size_t size, const char *folder, const char *name, struct error *err)
{
    int length = snprintf(target, size, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= size) {
        return error_set(err, ERR_SERVER, 0, "ASYA_SOCKET_DIR and ASYA_SOCKET_NAME make a path that is too long");
    }
    return true;
}

/* The variable is set but empty, as by a template without a value. Falling back to the echo function would pass every
 * message on as if it had been processed. */
static bool is_set_empty(const char *name)
{
    const char *text = getenv(name);
    return text != NULL && text[0] == '\0';
}

/* Finds which variable names the function, and whether it is a dotted name. */
static bool resolve_function(struct options *options, struct error *err)
{
    options->function_variable = "ASYA_PROCESS_MODULE";
    if (options->process_module[0] != '\0') {
        return true;
    }
    if (options->handler[0] != '\0') {
        options->process_module = options->handler;
        options->function_variable = "ASYA_HANDLER";
        options->is_dotted = strchr(options->handler, ':') == NULL;
        return true;
    }
    const char *empty = is_set_empty("ASYA_HANDLER")          ? "ASYA_HANDLER"
                        : is_set_empty("ASYA_PROCESS_MODULE") ? "ASYA_PROCESS_MODULE"
                                                              : NULL;
    return empty == NULL ||
           error_set(err, ERR_SERVER, 0, "%s is set but empty: name the function, or unset it to echo every message",
                     empty);
}

/* Refuses spellings that other programs accept and that would make oddly named folders in the working directory here.
 */
static bool check_path_spelling(const char *name, const char *path, struct error *err)
{
    static const char digits[] = "0123456789";
    static const char around[] = "\"' \t\r\n";
    size_t size = strlen(path);
    const char *colon = strrchr(path, ':');
    const char *port = colon != NULL ? colon + 1 : path;
    const char *wanted = NULL;
    if (strstr(path, "://") != NULL || strncmp(path, "unix:", 5) == 0) {
        wanted = "a path without a scheme, like /tmp/sockets/app.sock";
    } else if (path[0] == '~' || path[0] == '$') {
        wanted = "a path as it is (nothing expands ~ or $ here), like /tmp/sockets/app.sock";
    } else if (size > 0 && (strchr(around, path[0]) != NULL || strchr(around, path[size - 1]) != NULL)) {
        wanted = "a path without quotes or white space around it, like /tmp/sockets/app.sock";
    } else if (strchr(path, '/') == NULL && port[0] != '\0' && port[strspn(port, digits)] == '\0') {
        wanted = "the path of a Unix socket, like /tmp/sockets/app.sock; the runtime listens on no port";
    }
    return wanted == NULL || error_set(err, ERR_SERVER, 0, "%s is '%.200s', should be %s", name, path, wanted);
}

/* The control socket is beside the socket unless a path, or none, is wanted. */
static bool resolve_control(struct options *options, struct error *err)
{
    const char *text = options->control_text;
    struct address address;
    if (options->http_address[0] != '\0' && !address_parse(options->http_address, &address)) {
        return error_set(err, ERR_SERVER, 0,
                         "ASYA_HTTP_ADDR is '%.64s', should be a port behind an address or alone: :9100, "
                         "127.0.0.1:9100 or [::1]:9100",
                         options->http_address);
    }
    options->control_is_named = text[0] != '\0';
    options->control_path = text;
    if (strcasecmp(text, "off") == 0) {
        options->control_path = "";
    } else if (text[0] == '\0') {
        int size =
            snprintf(options->composed_control, sizeof options->composed_control, "%s.ctl", options->socket_path);
        options->control_path = size < (int)sizeof options->composed_control ? options->composed_control : "";
    } else if (strcmp(text, options->socket_path) == 0) {
        return error_set(err, ERR_SERVER, 0,
                         "ASYA_CONTROL_PATH is '%.200s', the path of the socket itself: should be another one, or off",
                         text);
    }
    return options->control_path[0] == '\0' || !options->control_is_named ||
           check_path_spelling("ASYA_CONTROL_PATH", options->control_path, err);
}

/* The defaults that follow from other settings: an idle limit longer than the read timeout; those that change when the
 * names of newer Asya versions are used (docs/configuration.md). */
static bool options_resolve(struct options *options, struct error *err)
{
    if (options->keepalive_timeout == 0) {
        options->keepalive_timeout = 4 * options->read_timeout;
    }
    if (!resolve_function(options, err) || !check_path_spelling("ASYA_SOCKET_PATH", options->socket_path, err) ||
        !check_path_spelling("ASYA_SOCKET_DIR", options->socket_dir, err)) {
        return false;
    }
    bool newer = options->handler[0] != '\0' || options->socket_dir[0] != '\0' || options->socket_name[0] != '\0';
    options->ready_file = "";
    const char *path = getenv("ASYA_SOCKET_PATH");
    if (newer && (path == NULL || path[0] == '\0')) {
        const char *folder = options->socket_dir[0] != '\0' ? options->socket_dir : "/var/run/asya";
        const char *name = options->socket_name[0] != '\0' ? options->socket_name : "asya-runtime.sock";
        if (!compose(options->composed_path, sizeof options->composed_path, folder, name, err) ||
            !compose(options->composed_ready, sizeof options->composed_ready, folder, "runtime-ready", err)) {
            return false;
        }
        options->socket_path = options->composed_path;
        options->ready_file = options->composed_ready;
    }
    const char *mode = options->socket_mode_text;
    if (mode == NULL) {
        options->socket_mode = newer ? 0666 : 0660;
    } else if (mode[0] == '\0') {
        options->socket_mode = SOCKET_MODE_UMASK;
    } else if (!parse_mode(mode, &options->socket_mode)) {
        return error_set(err, ERR_SERVER, 0,
                         "ASYA_SOCKET_CHMOD is '%.64s', should be an octal mode like 0o660, or empty", mode);
    }
    return resolve_control(options, err);
}

/* Flows name the function of each actor ASYA_HANDLER_<ACTOR>, and an actor may be called `mode` or `timeout`: a dotted
 * name is then no value of the setting. */
bool options_names_actor(const char *name, const char *text)
{
    char first = (char)(text[0] | 0x20); /* in lower case */
    bool begins_as_name = (first >= 'a' && first <= 'z') || text[0] == '_';
    return strncmp(name, "ASYA_HANDLER_", 13) == 0 && begins_as_name && strchr(text, '.') != NULL;
}

bool options_load(struct options *ret_options, struct error *err)
{
    memset(ret_options, 0, sizeof *ret_options);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const char *text = getenv(table[i].name);
        bool may_be_empty = table[i].offset == FIELD(socket_mode_text) || table[i].kind == KIND_BYTES;
        if (text == NULL || (text[0] == '\0' && !may_be_empty) || options_names_actor(table[i].name, text)) {
            text = table[i].fallback; /* an empty value counts as unset: templates leave one when they have no value */
        }
        if (!store(ret_options, &table[i], text, err)) {
            return false;
        }
    }
    if (ret_options->handler_argument == HANDLER_ENVELOPE) {
        ret_options->handler_mode = HANDLER_ENVELOPE;
    }
    const char *spares = getenv("ASYA_SPARES");
    if (ret_options->preload && (spares == NULL || spares[0] == '\0')) {
        ret_options->spares = 1; /* one that was forked ahead has copied next to nothing */
    }
    return options_resolve(ret_options, err);
}

const char *options_name(size_t index) { return index < OPTION_COUNT ? table[index].name : NULL; }

/* Seconds with the digits that are needed: "30", "0.25". */
static void options_show_seconds(uint64_t span, char target[OPTION_VALUE_SIZE])
{
    int size = snprintf(target, OPTION_VALUE_SIZE, "%llu.%09llu", (unsigned long long)(span / CLOCK_SECOND),
                        (unsigned long long)(span % CLOCK_SECOND));
    while (target[size - 1] == '0') {
        target[--size] = '\0';
    }
    if (target[size - 1] == '.') {
        target[size - 1] = '\0';
    }
}

static void options_show(const struct option *option, const void *field, struct option_value *value)
{
    const struct option_memory *memory = field;
    uint64_t number = 0;
    value->form = OPTION_TOKEN;
    value->text = value->own;
    switch (option->kind) {
    case KIND_TEXT:
        value->form = OPTION_TEXT;
        memcpy(&value->text, field, sizeof value->text);
        return;
    case KIND_BYTES:
    case KIND_COUNT:
        memcpy(&number, field, sizeof number);
        (void)snprintf(value->own, sizeof value->own, "%llu", (unsigned long long)number);
        return;
    case KIND_SECONDS:
        memcpy(&number, field, sizeof number);
        options_show_seconds(number, value->own);
        return;
    case KIND_MEMORY:
        value->form = memory->percent > 0 ? OPTION_TEXT : OPTION_TOKEN;
        (void)snprintf(value->own, sizeof value->own, memory->percent > 0 ? "%llu%%" : "%llu",
                       (unsigned long long)(memory->percent > 0 ? memory->percent : memory->bytes));
        return;
    case KIND_UIDS:
        value->form = OPTION_HIDDEN;
        return;
    case KIND_SWITCH:
        value->text = *(const bool *)field ? "true" : "false";
        return;
    case KIND_WORD:
        value->form = OPTION_TEXT;
        for (const struct word *word = option->words; word->text != NULL && value->text == value->own; word++) {
            value->text = memcmp(&word->value, field, sizeof word->value) == 0 ? word->text : value->text;
        }
        return;
    }
}

bool options_value(const struct options *options, size_t index, struct option_value *ret_value)
{
    if (index >= OPTION_COUNT) {
        return false;
    }
    const struct option *option = &table[index];
    const char *text = getenv(option->name);
    ret_value->name = option->name;
    ret_value->own[0] = '\0';
    ret_value->is_set = text != NULL && text[0] != '\0';
    options_show(option, (const char *)options + option->offset, ret_value);
    if (option->offset == FIELD(control_text)) {
        ret_value->text = options->control_path[0] != '\0' ? options->control_path : "off";
    } else if (option->offset == FIELD(socket_mode_text) && options->socket_mode != SOCKET_MODE_UMASK) {
        (void)snprintf(ret_value->own, sizeof ret_value->own, "0o%o", (unsigned)options->socket_mode);
        ret_value->text = ret_value->own;
    }
    return true;
}

bool options_parse_level(const char *text, enum log_level *ret_level)
{
    const struct word *word = find_word(text, levels);
    if (word != NULL) {
        *ret_level = (enum log_level)word->value;
    }
    return word != NULL;
}

const char *options_level_name(enum log_level level)
{
    const struct word *word = levels;
    while (word->value != (unsigned)level && word[1].text != NULL) {
        word++;
    }
    return word->text;
}

bool options_row(size_t index, struct option_row *ret_row)
{
    if (index >= OPTION_COUNT) {
        return false;
    }
    const struct option *option = &table[index];
    *ret_row = (struct option_row){.name = option->name,
                                   .fallback = option->fallback != NULL ? option->fallback : "",
                                   .help = option->help,
                                   .is_switch = option->kind == KIND_SWITCH};
    return true;
}
