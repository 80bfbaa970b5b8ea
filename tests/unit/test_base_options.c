/* options: every variable's default, limits and wrong values, as docs/configuration.md says. */
#include "descriptors.h"

#include "base/clock.h"
#include "base/options.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct options options; /* too large for a comfortable stack frame, and must not move */

/* Loads from an environment of nothing but `settings`, "NAME=VALUE" each; they must outlive the options. */
static bool load(const char *const *settings, size_t count, struct error *err)
{
    clearenv();
    for (size_t i = 0; i < count && settings[i] != NULL; i++) {
        char name[64];
        const char *equals = strchr(settings[i], '=');
        size_t size = (size_t)(equals - settings[i]);
        assert_true(size < sizeof name);
        memcpy(name, settings[i], size);
        name[size] = '\0';
        assert_int_equal(setenv(name, equals + 1, 1), 0);
    }
    return options_load(&options, err);
}

static bool load_one(const char *name, const char *value, struct error *err)
{
    clearenv();
    assert_int_equal(setenv(name, value, 1), 0);
    return options_load(&options, err);
}

static void an_empty_environment_gives_the_documented_defaults(void **state)
{
    (void)state;
    struct error err;
    assert_true(load(NULL, 0, &err));
    assert_string_equal(options.socket_path, "/tmp/sockets/app.sock");
    assert_string_equal(options.ready_file, "");
    assert_string_equal(options.process_module, "");
    assert_int_equal(options.max_message_size, 10485760);
    assert_int_equal(options.socket_mode, 0660);
    assert_int_equal(options.read_timeout, 30 * CLOCK_SECOND);
    assert_int_equal(options.keepalive_timeout, 120 * CLOCK_SECOND);
    assert_int_equal(options.write_timeout, 30 * CLOCK_SECOND);
    assert_int_equal(options.handler_timeout, 0);
    assert_int_equal(options.handler_grace, CLOCK_SECOND);
    assert_true(options.cancel_on_disconnect && options.typed_payloads);
    assert_int_equal(options.generation, GENERATION_CURRENT);
    assert_string_equal(options.state_mounts, "");
    assert_string_equal(options.state_folder, "/var/run/asya/state");
    assert_int_equal(options.startup_timeout, 0);
    assert_int_equal(options.grace_period, 25 * CLOCK_SECOND);
    assert_int_equal(options.max_requests, 0);
    assert_int_equal(options.max_rss.bytes, 0);
    assert_int_equal(options.max_rss.percent, 0);
    assert_int_equal(options.memory_limit.bytes, 0);
    assert_int_equal(options.memory_limit.percent, 0);
    assert_int_equal(options.max_buffered.bytes, 0);
    assert_int_equal(options.max_buffered.percent, 0);
    assert_int_equal(options.allowed_uids.count, 0);
    assert_int_equal(options.workers, 1);
    assert_int_equal(options.log_level, LOG_LEVEL_INFO);
    assert_int_equal(options.log_format, LOG_TEXT);
}

struct number_row {
    const char *name;
    const char *variable;
    const char *value;
    size_t field; /* a uint64_t in struct options */
    uint64_t expected;
};

#define FIELD(name) offsetof(struct options, name)

static const struct number_row number_rows[] = {
    {"a message size is bytes", "ASYA_MAX_MESSAGE_SIZE", "4096", FIELD(max_message_size), 4096},
    {"the smallest message size is one byte", "ASYA_MAX_MESSAGE_SIZE", "1", FIELD(max_message_size), 1},
    {"the largest message size is 150 MB", "ASYA_MAX_MESSAGE_SIZE", "150000000", FIELD(max_message_size), 150000000},
    {"one worker is the least", "ASYA_WORKERS", "1", FIELD(workers), 1},
    {"64 workers are the most", "ASYA_WORKERS", "64", FIELD(workers), WORKERS_MAX},
    {"whole seconds", "ASYA_READ_TIMEOUT", "7", FIELD(read_timeout), 7 * CLOCK_SECOND},
    {"the idle limit follows it", "ASYA_READ_TIMEOUT", "7", FIELD(keepalive_timeout), 28 * CLOCK_SECOND},
    {"unless it is set", "ASYA_KEEPALIVE_TIMEOUT", "0.5", FIELD(keepalive_timeout), CLOCK_SECOND / 2},
    {"to more than 0", "ASYA_KEEPALIVE_TIMEOUT", "0", FIELD(keepalive_timeout), 120 * CLOCK_SECOND},
    {"half a second", "ASYA_READ_TIMEOUT", "0.5", FIELD(read_timeout), CLOCK_SECOND / 2},
    {"a nanosecond", "ASYA_WRITE_TIMEOUT", "0.000000001", FIELD(write_timeout), 1},
    {"digits finer than nanoseconds are dropped", "ASYA_WRITE_TIMEOUT", "1.0000000019", FIELD(write_timeout),
     CLOCK_SECOND + 1},
    {"a hundred days", "ASYA_GRACE_PERIOD", "8640000", FIELD(grace_period), 8640000 * CLOCK_SECOND},
    {"no grace", "ASYA_GRACE_PERIOD", "0", FIELD(grace_period), 0},
    {"a start without limit", "ASYA_STARTUP_TIMEOUT", "0", FIELD(startup_timeout), 0},
    {"a start of two seconds", "ASYA_STARTUP_TIMEOUT", "2", FIELD(startup_timeout), 2 * CLOCK_SECOND},
    {"a function without limit", "ASYA_HANDLER_TIMEOUT", "0", FIELD(handler_timeout), 0},
    {"a function of 1.25 seconds", "ASYA_HANDLER_TIMEOUT", "1.25", FIELD(handler_timeout), CLOCK_SECOND * 5 / 4},
    {"no time to clean up", "ASYA_HANDLER_GRACE", "0", FIELD(handler_grace), 0},
    {"a minute to clean up", "ASYA_HANDLER_GRACE", "60", FIELD(handler_grace), 60 * CLOCK_SECOND},
    {"replacement after a thousand", "ASYA_MAX_REQUESTS", "1000", FIELD(max_requests), 1000},
    {"replacement never", "ASYA_MAX_REQUESTS", "0", FIELD(max_requests), 0},
    {"a message size in Ki", "ASYA_MAX_MESSAGE_SIZE", "64Ki", FIELD(max_message_size), 65536},
    {"a message size in Mi", "ASYA_MAX_MESSAGE_SIZE", "20Mi", FIELD(max_message_size), 20 << 20},
    {"memory in Gi", "ASYA_MEMORY_LIMIT", "2Gi", FIELD(memory_limit.bytes), UINT64_C(2) << 30},
    {"memory in bytes", "ASYA_MAX_RSS", "1073741824", FIELD(max_rss.bytes), 1073741824},
    {"memory as the fewest bytes", "ASYA_MEMORY_LIMIT", "1048576", FIELD(memory_limit.bytes), 1048576},
    {"memory as a share", "ASYA_MAX_RSS", "80%", FIELD(max_rss.percent), 80},
    {"memory as the smallest share", "ASYA_MEMORY_LIMIT", "1%", FIELD(memory_limit.percent), 1},
    {"memory as the whole share", "ASYA_MEMORY_LIMIT", "100%", FIELD(memory_limit.percent), 100},
    {"bytes of buffered requests", "ASYA_MAX_BUFFERED", "64Mi", FIELD(max_buffered.bytes), UINT64_C(64) << 20},
    {"buffered requests as a share", "ASYA_MAX_BUFFERED", "10%", FIELD(max_buffered.percent), 10},
    {"a memory limit in bytes", "ASYA_MEMORY_LIMIT", "5000000000", FIELD(memory_limit.bytes), 5000000000},
    /* an empty value is an unset one, as a template that fills nothing in leaves it */
    {"an empty number of workers is the default", "ASYA_WORKERS", "", FIELD(workers), 1},
    {"an empty timeout is the default", "ASYA_READ_TIMEOUT", "", FIELD(read_timeout), 30 * CLOCK_SECOND},
    {"an empty memory is the default", "ASYA_MAX_RSS", "", FIELD(max_rss.bytes), 0},
};

static void numbers_are_read_to_their_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof number_rows / sizeof number_rows[0]; i++) {
        const struct number_row *row = &number_rows[i];
        struct error err = {0};
        if (!load_one(row->variable, row->value, &err)) {
            fail_msg("%s: %s", row->name, err.text);
        }
        uint64_t found;
        memcpy(&found, (const char *)&options + row->field, sizeof found);
        if (found != row->expected) {
            fail_msg("%s: %llu", row->name, (unsigned long long)found);
        }
    }
}

static void user_ids_are_read_in_their_order(void **state)
{
    (void)state;
    struct error err;
    assert_true(load_one("ASYA_ALLOWED_UIDS", "", &err));
    assert_int_equal(options.allowed_uids.count, 0);
    assert_true(load_one("ASYA_ALLOWED_UIDS", "10001", &err));
    assert_int_equal(options.allowed_uids.count, 1);
    assert_int_equal(options.allowed_uids.uids[0], 10001);
    assert_true(load_one("ASYA_ALLOWED_UIDS", "4294967294,0,65534", &err));
    assert_int_equal(options.allowed_uids.count, 3);
    assert_int_equal(options.allowed_uids.uids[0], 4294967294);
    assert_int_equal(options.allowed_uids.uids[1], 0);
    assert_int_equal(options.allowed_uids.uids[2], 65534);
    assert_true(load_one("ASYA_ALLOWED_UIDS",
                         "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                         &err));
    assert_int_equal(options.allowed_uids.count, UIDS_MAX);
    assert_int_equal(options.allowed_uids.uids[UIDS_MAX - 1], 31);
}

struct bad_row {
    const char *variable;
    const char *values[32];
};

#define NO_NUMBERS                                                                                                     \
    "-1", "+1", "1e9", "99999999999999999999", "18446744073709551616", " 10", "10 ", "0x10", "ten", "1,5", "\n1"

static const struct bad_row bad_rows[] = {
    {"ASYA_MAX_MESSAGE_SIZE",
     {"", "0", "150000001", "4294967296", "1.5", "10M", "1%", "Ki", "1KiB", "1ki", "1 Mi", "1.5Mi", "1Ti",
      "17179869184Gi", NO_NUMBERS}},
    {"ASYA_WORKERS", {"0", "65", "4294967297", "1.5", NO_NUMBERS}},
    {"ASYA_MAX_REQUESTS", {"1.5", NO_NUMBERS}},
    {"ASYA_READ_TIMEOUT", {"0", "0.0", "0.0000000001", "8640001", ".5", "1.2.3", "1s", "nan", "inf", NO_NUMBERS}},
    {"ASYA_WRITE_TIMEOUT", {"0", "0.0000000001", "8640001", ".5", "1..2", NO_NUMBERS}},
    {"ASYA_HANDLER_TIMEOUT", {"8640001", ".5", "infinity", NO_NUMBERS}},
    {"ASYA_STARTUP_TIMEOUT", {"8640001", ".", NO_NUMBERS}},
    {"ASYA_GRACE_PERIOD", {"8640001", "25s", NO_NUMBERS}},
    {"ASYA_MAX_RSS", {"%", "0%", "101%", "50%%", "5 %", "1.5%", "1G", "-5%", "80", NO_NUMBERS}},
    {"ASYA_MEMORY_LIMIT", {"%", "0%", "101%", "1000000000000000000000000000000%", "80", "1048575", NO_NUMBERS}},
    {"ASYA_ALLOWED_UIDS",
     {",", "0,", ",0", "0,,1", "0 1", "0, 1", "-1", "root", "4294967295", "4294967296", "99999999999999999999", "1;2",
      "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32"}},
    {"ASYA_CANCEL_ON_DISCONNECT", {"maybe", "2", "tru", "true "}},
    {"ASYA_LOG_LEVEL", {"TRACE", "INFO ", "4", "inf"}},
    {"ASYA_LOG_FORMAT", {"logfmt", "text "}},
    {"ASYA_HTTP_ADDR", {"9100", ":", ":0", ":65536", "localhost:9100", "http://localhost:9100", "127.0.0.1", "::1:1"}},
    {"ASYA_CONTROL_PATH", {"unix:///tmp/x", "~/x", "$HOME/x", ":9100", "/tmp/sockets/app.sock"}},
    {"ASYA_SOCKET_CHMOD",
     {"0o", "o660", "0x1b0", "888", "0668", "1777", "01000", "rw-rw----", "-1", " 660", "0o0o660"}},
};

static void wrong_values_are_refused_with_variable_and_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_rows / sizeof bad_rows[0]; i++) {
        const struct bad_row *row = &bad_rows[i];
        for (size_t j = 0; j < sizeof row->values / sizeof row->values[0] && row->values[j] != NULL; j++) {
            struct error err = {0};
            if (load_one(row->variable, row->values[j], &err)) {
                fail_msg("%s='%s' was accepted", row->variable, row->values[j]);
            }
            if (err.category != ERR_SERVER || strstr(err.text, row->variable) == NULL ||
                strstr(err.text, row->values[j]) == NULL || strstr(err.text, "should be") == NULL) {
                fail_msg("%s='%s': %s", row->variable, row->values[j], err.text);
            }
        }
    }
}

static void a_long_wrong_value_is_shown_in_part(void **state)
{
    (void)state;
    enum { LONG = 1 << 20 };
    static const char *const variables[] = {"ASYA_WORKERS",      "ASYA_READ_TIMEOUT", "ASYA_LOG_LEVEL",
                                            "ASYA_SOCKET_CHMOD", "ASYA_MAX_RSS",      "ASYA_MAX_MESSAGE_SIZE"};
    char *value = malloc(LONG);
    assert_non_null(value);
    memset(value, '7', LONG - 1);
    value[LONG - 1] = '\0';
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        struct error err = {0};
        assert_false(load_one(variables[i], value, &err));
        assert_non_null(strstr(err.text, variables[i]));
        assert_true(strlen(err.text) < 512);
    }
    clearenv();
    free(value);
}

struct mode_row {
    const char *value;
    int expected;
};

static const struct mode_row mode_rows[] = {
    {"0o660", 0660}, {"0660", 0660}, {"660", 0660}, {"0o600", 0600},         {"0o777", 0777},
    {"0", 0},        {"0o0", 0},     {"7", 07},     {"", SOCKET_MODE_UMASK},
};

static void the_socket_mode_is_octal_in_three_spellings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mode_rows / sizeof mode_rows[0]; i++) {
        struct error err = {0};
        if (!load_one("ASYA_SOCKET_CHMOD", mode_rows[i].value, &err) || options.socket_mode != mode_rows[i].expected) {
            fail_msg("'%s': %o %s", mode_rows[i].value, (unsigned)options.socket_mode, err.text);
        }
    }
}

static void words_are_told_apart(void **state)
{
    (void)state;
    static const char *const levels[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
    struct error err;
    for (size_t i = 0; i < 4; i++) {
        assert_true(load_one("ASYA_LOG_LEVEL", levels[i], &err));
        assert_int_equal(options.log_level, i);
    }
    static const struct {
        const char *text;
        enum log_level level;
    } others[] = {{"debug", LOG_LEVEL_DEBUG},  {"Info", LOG_LEVEL_INFO},      {"WARN", LOG_LEVEL_WARNING},
                  {"warn", LOG_LEVEL_WARNING}, {"critical", LOG_LEVEL_ERROR}, {"FATAL", LOG_LEVEL_ERROR}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) { /* as Asya's own runtime takes them */
        assert_true(load_one("ASYA_LOG_LEVEL", others[i].text, &err));
        assert_int_equal(options.log_level, others[i].level);
    }
    assert_true(load_one("ASYA_ENABLE_VALIDATION", "False", &err));
    assert_false(options.enable_validation);
    assert_true(load_one("ASYA_ENABLE_VALIDATION", "TRUE", &err));
    assert_true(options.enable_validation);
    assert_true(load_one("ASYA_HANDLER_ARG_TYPE", "Message", &err));
    assert_int_equal(options.handler_mode, HANDLER_ENVELOPE);
    assert_true(load_one("ASYA_LOG_FORMAT", "json", &err));
    assert_int_equal(options.log_format, LOG_JSON);
    assert_true(load_one("ASYA_LOG_FORMAT", "JSON", &err));
    assert_int_equal(options.log_format, LOG_JSON);
    assert_true(load_one("ASYA_LOG_FORMAT", "text", &err));
    assert_int_equal(options.log_format, LOG_TEXT);
    assert_true(load_one("ASYA_CANCEL_ON_DISCONNECT", "false", &err));
    assert_false(options.cancel_on_disconnect);
    assert_true(load_one("ASYA_CANCEL_ON_DISCONNECT", "true", &err));
    assert_true(options.cancel_on_disconnect);
}

/* Which names give which socket, ready-file, mode and module. */
struct name_row {
    const char *name;
    const char *settings[4];
    const char *socket;
    const char *ready;
    int mode;
    const char *module;
};

#define OLD_SOCKET "/tmp/sockets/app.sock"
#define NEW_SOCKET "/var/run/asya/asya-runtime.sock"
#define NEW_READY  "/var/run/asya/runtime-ready"

static const struct name_row name_rows[] = {
    {"a module alone", {"ASYA_PROCESS_MODULE=pkg.mod:f"}, OLD_SOCKET, "", 0660, "pkg.mod:f"},
    {"a socket path alone", {"ASYA_SOCKET_PATH=/run/a.sock"}, "/run/a.sock", "", 0660, ""},
    {"an empty socket path is the default", {"ASYA_SOCKET_PATH="}, OLD_SOCKET, "", 0660, ""},
    {"a function by the newer name", {"ASYA_HANDLER=pkg.mod.func"}, NEW_SOCKET, NEW_READY, 0666, "pkg.mod.func"},
    {"a function in a module without package", {"ASYA_HANDLER=mod.func"}, NEW_SOCKET, NEW_READY, 0666, "mod.func"},
    {"a method", {"ASYA_HANDLER=pkg.mod.Class.method"}, NEW_SOCKET, NEW_READY, 0666, "pkg.mod.Class.method"},
    {"a method of a class in a plain module",
     {"ASYA_HANDLER=mod.Class.method"},
     NEW_SOCKET,
     NEW_READY,
     0666,
     "mod.Class.method"},
    {"a function named like a class", {"ASYA_HANDLER=pkg.mod.Build"}, NEW_SOCKET, NEW_READY, 0666, "pkg.mod.Build"},
    {"underscores and digits in names", {"ASYA_HANDLER=_p1.m_2.f_3"}, NEW_SOCKET, NEW_READY, 0666, "_p1.m_2.f_3"},
    {"the newer name in the older form", {"ASYA_HANDLER=pkg.mod:func"}, NEW_SOCKET, NEW_READY, 0666, "pkg.mod:func"},
    {"an empty newer name beside a module", {"ASYA_HANDLER=", "ASYA_PROCESS_MODULE=m"}, OLD_SOCKET, "", 0660, "m"},
    {"both names: the module's own wins",
     {"ASYA_HANDLER=a.b", "ASYA_PROCESS_MODULE=c:d"},
     NEW_SOCKET,
     NEW_READY,
     0666,
     "c:d"},
    {"an empty module beside a newer name is none",
     {"ASYA_HANDLER=a.b", "ASYA_PROCESS_MODULE="},
     NEW_SOCKET,
     NEW_READY,
     0666,
     "a.b"},
    {"a folder alone", {"ASYA_SOCKET_DIR=/run/x"}, "/run/x/asya-runtime.sock", "/run/x/runtime-ready", 0666, ""},
    {"a socket's name alone", {"ASYA_SOCKET_NAME=s.sock"}, "/var/run/asya/s.sock", NEW_READY, 0666, ""},
    {"folder and name",
     {"ASYA_SOCKET_DIR=/run/x", "ASYA_SOCKET_NAME=s.sock"},
     "/run/x/s.sock",
     "/run/x/runtime-ready",
     0666,
     ""},
    {"an empty folder and name are none", {"ASYA_SOCKET_DIR=", "ASYA_SOCKET_NAME="}, OLD_SOCKET, "", 0660, ""},
    {"the path wins over folder and name",
     {"ASYA_SOCKET_PATH=/p.sock", "ASYA_SOCKET_DIR=/run/x", "ASYA_SOCKET_NAME=s.sock"},
     "/p.sock",
     "",
     0666,
     ""},
    {"an empty path leaves it to folder and name",
     {"ASYA_SOCKET_PATH=", "ASYA_SOCKET_DIR=/run/x"},
     "/run/x/asya-runtime.sock",
     "/run/x/runtime-ready",
     0666,
     ""},
    {"a mode that is set wins over both defaults",
     {"ASYA_HANDLER=a.b", "ASYA_SOCKET_CHMOD=0o640"},
     NEW_SOCKET,
     NEW_READY,
     0640,
     "a.b"},
    {"an empty mode is the umask with newer names too",
     {"ASYA_HANDLER=a.b", "ASYA_SOCKET_CHMOD="},
     NEW_SOCKET,
     NEW_READY,
     SOCKET_MODE_UMASK,
     "a.b"},
};

static void names_choose_socket_ready_file_mode_and_module(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof name_rows / sizeof name_rows[0]; i++) {
        const struct name_row *row = &name_rows[i];
        struct error err = {0};
        if (!load(row->settings, 4, &err)) {
            fail_msg("%s: %s", row->name, err.text);
        }
        if (strcmp(options.socket_path, row->socket) != 0 || strcmp(options.ready_file, row->ready) != 0 ||
            options.socket_mode != row->mode || strcmp(options.process_module, row->module) != 0) {
            fail_msg("%s: '%s' '%s' %o '%s'", row->name, options.socket_path, options.ready_file,
                     (unsigned)options.socket_mode, options.process_module);
        }
    }
}

static void a_function_that_is_set_but_empty_is_refused(void **state)
{
    (void)state;
    static const char *const variables[] = {"ASYA_PROCESS_MODULE", "ASYA_HANDLER"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        struct error err = {0};
        assert_false(load_one(variables[i], "", &err));
        assert_non_null(strstr(err.text, variables[i]));
        assert_non_null(strstr(err.text, "set but empty"));
    }
}

static void the_variable_that_names_the_function_is_known(void **state)
{
    (void)state;
    struct error err;
    assert_true(load_one("ASYA_HANDLER", "a.b.c", &err));
    assert_string_equal(options.function_variable, "ASYA_HANDLER");
    assert_true(options.is_dotted);
    assert_true(load_one("ASYA_HANDLER", "a.b:c", &err));
    assert_false(options.is_dotted);
    assert_true(load_one("ASYA_PROCESS_MODULE", "a.b", &err));
    assert_string_equal(options.function_variable, "ASYA_PROCESS_MODULE");
    assert_false(options.is_dotted);
}

static void paths_as_other_programs_spell_them_are_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {"unix:///tmp/x.sock", "unix://x",       "~/x.sock", "$HOME/x.sock",
                                          "${DIR}/x",           "localhost:8080", ":8080",    "0.0.0.0:80",
                                          "unix:/tmp/x",        "unix:x",         "8080",     "\"/tmp/x\"",
                                          "'/tmp/x'",           " /tmp/x",        "/tmp/x\n"};
    static const char *const taken[] = {"/tmp/a:80", "x.sock",   "./~x",      "/a/$b",    "a:b",
                                        "/tmp/x:y",  "/tmp/a b", "/tmp/8080", "8080.sock"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct error err = {0};
        if (load_one("ASYA_SOCKET_PATH", refused[i], &err) || strstr(err.text, "should be") == NULL) {
            fail_msg("'%s': %s", refused[i], err.text);
        }
        if (load_one("ASYA_SOCKET_DIR", refused[i], &err) || strstr(err.text, "ASYA_SOCKET_DIR is") == NULL) {
            fail_msg("'%s': %s", refused[i], err.text);
        }
    }
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        struct error err = {0};
        if (!load_one("ASYA_SOCKET_PATH", taken[i], &err)) {
            fail_msg("'%s': %s", taken[i], err.text);
        }
    }
}

static void paths_too_long_to_compose_are_refused(void **state)
{
    (void)state;
    char value[OPTION_PATH_SIZE + 8];
    static const char *const variables[] = {"ASYA_SOCKET_DIR", "ASYA_SOCKET_NAME"};
    memset(value, 'a', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        struct error err = {0};
        assert_false(load_one(variables[i], value, &err));
        assert_non_null(strstr(err.text, variables[i]));
        assert_true(strlen(err.text) < 512);
    }
}

static const struct {
    const char *control; /* ASYA_CONTROL_PATH; NULL: unset */
    const char *path;
    bool is_named;
} control_rows[] = {
    {NULL, "/tmp/sockets/app.sock.ctl", false},
    {"", "/tmp/sockets/app.sock.ctl", false},
    {"off", "", true},
    {"OFF", "", true},
    {"/run/asya.ctl", "/run/asya.ctl", true},
};

static void the_control_socket_is_beside_the_socket_or_where_it_is_wanted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof control_rows / sizeof control_rows[0]; i++) {
        struct error err;
        clearenv();
        if (control_rows[i].control != NULL) {
            (void)setenv("ASYA_CONTROL_PATH", control_rows[i].control, 1);
        }
        assert_true(options_load(&options, &err));
        assert_string_equal(options.control_path, control_rows[i].path);
        assert_int_equal(options.control_is_named, control_rows[i].is_named);
    }
}

static const struct {
    const char *name;
    const char *value; /* NULL: unset */
    const char *shown; /* NULL: hidden */
    enum option_form form;
} shown_rows[] = {
    {"ASYA_SOCKET_PATH", NULL, "/tmp/sockets/app.sock", OPTION_TEXT},
    {"ASYA_CONTROL_PATH", NULL, "/tmp/sockets/app.sock.ctl", OPTION_TEXT},
    {"ASYA_CONTROL_PATH", "off", "off", OPTION_TEXT},
    {"ASYA_MAX_MESSAGE_SIZE", "1Mi", "1048576", OPTION_TOKEN},
    {"ASYA_WORKERS", NULL, "1", OPTION_TOKEN},
    {"ASYA_HANDLER_TIMEOUT", "0", "0", OPTION_TOKEN},
    {"ASYA_HANDLER_TIMEOUT", "30", "30", OPTION_TOKEN},
    {"ASYA_HANDLER_TIMEOUT", "100.25", "100.25", OPTION_TOKEN},
    {"ASYA_HANDLER_TIMEOUT", "0.000000001", "0.000000001", OPTION_TOKEN},
    {"ASYA_CANCEL_ON_DISCONNECT", "no", "false", OPTION_TOKEN},
    {"ASYA_MAX_RSS", "80%", "80%", OPTION_TEXT},
    {"ASYA_MAX_RSS", "1Mi", "1048576", OPTION_TOKEN},
    {"ASYA_LOG_LEVEL", "warn", "WARNING", OPTION_TEXT},
    {"ASYA_PROTOCOL", NULL, "auto", OPTION_TEXT},
    {"ASYA_SOCKET_CHMOD", NULL, "0o660", OPTION_TEXT},
    {"ASYA_SOCKET_CHMOD", "0o600", "0o600", OPTION_TEXT},
    {"ASYA_ALLOWED_UIDS", "1000", NULL, OPTION_HIDDEN},
};

static void a_setting_is_shown_as_it_is_in_force(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof shown_rows / sizeof shown_rows[0]; row++) {
        struct option_value value;
        struct error err;
        size_t i = 0;
        clearenv();
        if (shown_rows[row].value != NULL) {
            (void)setenv(shown_rows[row].name, shown_rows[row].value, 1);
        }
        assert_true(options_load(&options, &err));
        while (options_value(&options, i, &value) && strcmp(value.name, shown_rows[row].name) != 0) {
            i++;
        }
        assert_string_equal(value.name, shown_rows[row].name);
        assert_int_equal(value.form, shown_rows[row].form);
        assert_int_equal(value.is_set, shown_rows[row].value != NULL);
        if (shown_rows[row].shown != NULL) {
            assert_string_equal(value.text, shown_rows[row].shown);
        } else {
            assert_string_equal(value.own, "");
        }
    }
}

static void an_actor_may_be_called_like_a_setting(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *text;
        bool is_actor;
    } rows[] = {{"ASYA_HANDLER_MODE", "flow.mode", true},   {"ASYA_HANDLER_TIMEOUT", "_flow.timeout", true},
                {"ASYA_HANDLER_MODE", "envelope", false},   {"ASYA_HANDLER_TIMEOUT", "0.5", false},
                {"ASYA_HANDLER_TIMEOUT", ".5", false},      {"ASYA_HANDLER_TIMEOUT", "-0.5", false},
                {"ASYA_HANDLER_MODE", "", false},           {"ASYA_HANDLER", "flow.mode", false},
                {"ASYA_PROCESS_MODULE", "flow.mode", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (options_names_actor(rows[i].name, rows[i].text) != rows[i].is_actor) {
            fail_msg("%s='%s'", rows[i].name, rows[i].text);
        }
    }
    struct error err = {0};
    assert_true(load_one("ASYA_HANDLER_MODE", "flow.mode", &err));
    assert_int_equal(options.handler_mode, HANDLER_PAYLOAD);
    assert_true(load_one("ASYA_HANDLER_TIMEOUT", "flow.timeout", &err));
    assert_int_equal(options.handler_timeout, 0);
}

static void a_level_is_a_word(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_INFO;
    assert_true(options_parse_level("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_string_equal(options_level_name(level), "DEBUG");
    assert_true(options_parse_level("WARN", &level));
    assert_string_equal(options_level_name(level), "WARNING");
    assert_string_equal(options_level_name(LOG_LEVEL_ERROR), "ERROR");
    assert_false(options_parse_level("LOUD", &level));
    assert_false(options_parse_level("", &level));
    assert_int_equal(level, LOG_LEVEL_WARNING);
}

static void the_table_has_every_variable_once(void **state)
{
    (void)state;
    struct option_row row;
    size_t count = 0;
    for (; options_row(count, &row); count++) {
        struct option_row other;
        assert_string_equal(row.name, options_name(count));
        assert_true(strncmp(row.name, "ASYA_", 5) == 0 && row.help[0] != '\0' && row.fallback != NULL);
        assert_int_equal(row.is_switch, strcmp(row.fallback, "true") == 0 || strcmp(row.fallback, "false") == 0);
        for (size_t i = 0; i < count && options_row(i, &other); i++) {
            assert_string_not_equal(other.name, row.name);
        }
    }
    assert_true(count > 25 && options_name(count) == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(an_empty_environment_gives_the_documented_defaults),
        DESCRIPTOR_TEST(numbers_are_read_to_their_limits),
        DESCRIPTOR_TEST(user_ids_are_read_in_their_order),
        DESCRIPTOR_TEST(wrong_values_are_refused_with_variable_and_value),
        DESCRIPTOR_TEST(a_long_wrong_value_is_shown_in_part),
        DESCRIPTOR_TEST(the_socket_mode_is_octal_in_three_spellings),
        DESCRIPTOR_TEST(words_are_told_apart),
        DESCRIPTOR_TEST(names_choose_socket_ready_file_mode_and_module),
        DESCRIPTOR_TEST(a_function_that_is_set_but_empty_is_refused),
        DESCRIPTOR_TEST(the_variable_that_names_the_function_is_known),
        DESCRIPTOR_TEST(paths_as_other_programs_spell_them_are_refused),
        DESCRIPTOR_TEST(paths_too_long_to_compose_are_refused),
        DESCRIPTOR_TEST(the_control_socket_is_beside_the_socket_or_where_it_is_wanted),
        DESCRIPTOR_TEST(a_setting_is_shown_as_it_is_in_force),
        DESCRIPTOR_TEST(an_actor_may_be_called_like_a_setting),
        DESCRIPTOR_TEST(a_level_is_a_word),
        DESCRIPTOR_TEST(the_table_has_every_variable_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
