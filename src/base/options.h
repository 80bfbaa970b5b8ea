/*
 * The settings of one runtime, read once from the environment (docs/configuration.md).
 *
 * One table in options.c has each variable's name, kind, default and meaning; parsing, --help and docs/configuration.md
 * use it. Strings borrow from the environment, which must not change while the options are in use.
 */
#ifndef ASYA_BASE_OPTIONS_H
#define ASYA_BASE_OPTIONS_H

#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SOCKET_PATH_MAX = 107,   /* bytes of sun_path without its NUL (unix(7)) */
    WORKERS_MAX = 64,        /* bounds the supervisor's tables */
    UIDS_MAX = 32,           /* user ids in ASYA_ALLOWED_UIDS */
    CONCURRENCY_MAX = 1024,  /* a worker holds this many connections at most */
    SOCKET_MODE_UMASK = -1,  /* ASYA_SOCKET_CHMOD is empty: leave the mode to the umask */
    OPTION_PATH_SIZE = 4096, /* a composed path with its NUL */
};

/* What the function is called with. */
enum access_log { ACCESS_OFF, ACCESS_SAMPLED, ACCESS_ALL };

enum handler_mode { HANDLER_PAYLOAD, HANDLER_ENVELOPE };

/* Whose sidecar speaks HTTP here (docs/protocol.md). */
enum generation { GENERATION_CURRENT, GENERATION_0_5_1 };

/* A size in bytes, or as a share of the cgroup's memory limit. */
struct option_memory {
    uint64_t bytes;   /* 0 is off, unless percent is set */
    uint64_t percent; /* of the cgroup's limit; 0: bytes counts */
};

/* A list of user ids. */
struct option_uids {
    uint32_t count; /* 0: no list */
    uint32_t uids[UIDS_MAX];
};

struct options {
    const char *socket_path;       /* absolute or relative, checked when the socket is made */
    const char *ready_file;        /* "" for none */
    const char *control_path;      /* the control socket; "" for none */
    bool control_is_named;         /* ASYA_CONTROL_PATH names it: not beside the socket by default */
    const char *record_dir;        /* where requests that fail are kept; "" for nowhere */
    const char *http_address;      /* base/address.h; "" for none */
    const char *process_module;    /* names the function; "" for the echo function */
    const char *function_variable; /* the variable that names it */
    bool is_dotted; /* all its names are separated by dots (ASYA_HANDLER): importing finds out which of them are the
                       module */
    uint64_t max_message_size;         /* bytes */
    int socket_mode;                   /* permission bits or SOCKET_MODE_UMASK */
    uint64_t read_timeout;             /* nanoseconds for a whole request */
    uint64_t keepalive_timeout;        /* nanoseconds that a kept HTTP connection may be idle; never 0 once loaded */
    uint64_t write_timeout;            /* nanoseconds for a whole reply */
    uint64_t startup_timeout;          /* nanoseconds; 0 is off */
    uint64_t healthcheck_interval;     /* nanoseconds */
    uint64_t healthcheck_timeout;      /* nanoseconds */
    uint64_t grace_period;             /* nanoseconds */
    uint64_t handler_timeout;          /* nanoseconds a function may run; 0 is off */
    uint64_t handler_grace;            /* nanoseconds between that and SIGTERM for its process */
    bool cancel_on_disconnect;         /* a function whose client went away is asked to stop */
    uint64_t max_requests;             /* a worker is replaced after so many; 0 is off */
    struct option_memory max_rss;      /* a worker with more resident memory is replaced */
    struct option_memory memory_limit; /* RLIMIT_DATA of a worker */
    struct option_memory max_buffered; /* for requests that arrive or wait, in one worker */
    struct option_uids allowed_uids;   /* who may connect; an empty list: everybody whom the socket's mode lets in */
    uint64_t workers;
    uint64_t spares;        /* workers that are loaded and wait for one of these to be missing */
    uint64_t concurrency;   /* requests at once per worker */
    unsigned protocol;      /* enum protocol of wire/protocol.h */
    bool enable_validation; /* check the envelope: route, headers, id */
    unsigned handler_mode;  /* enum handler_mode */
    unsigned generation;    /* enum generation */
    bool preload;           /* workers are forked from a template that has loaded the function */
    bool typed_payloads;    /* payloads are read by the function's annotation */
    enum log_level log_level;
    enum log_format log_format;
    enum access_log access_log;
    bool capture_output;      /* what a worker prints becomes records of the log */
    const char *state_mounts; /* python/mounts.h; "" for none */
    const char *state_folder; /* where the sockets of their connectors are */

    /* private: the fields above are made from these */
    unsigned handler_argument; /* ASYA_HANDLER_ARG_TYPE: the older name of the mode */
    const char *handler;
    const char *socket_dir;
    const char *socket_name;
    const char *socket_mode_text;
    const char *control_text;
    char composed_control[OPTION_PATH_SIZE];
    char composed_path[OPTION_PATH_SIZE];
    char composed_ready[OPTION_PATH_SIZE];
};

/* Fills `ret_options` from the environment. Returns false with ERR_SERVER and a text that names the variable, its
 * value and what it should be. `ret_options` points into itself: it must not be copied or moved. */
bool options_load(struct options *ret_options, struct error *err);

/* Whether the variable `name` with the value `text` names the function of an actor (ASYA_HANDLER_<ACTOR>) that is
 * called like a setting. Such a variable counts as unset. Pure. */
bool options_names_actor(const char *name, const char *text);

/* Seconds as digits with an optional fraction ("30", "0.25") to nanoseconds; finer digits are dropped. Returns false
 * and writes nothing for anything else, or for more than 100 days. Pure. */
bool options_parse_seconds(const char *text, uint64_t *ret_span);

/* The name of the setting at `index` in the table; NULL after the last. */
const char *options_name(size_t index);

/* What a setting has, for people and programs that ask a running one. */
enum option_form {
    OPTION_TEXT,
    OPTION_TOKEN, /* a number, true or false: JSON as it is */
    OPTION_HIDDEN /* not told: it says something of people, such as user ids */
};

enum { OPTION_VALUE_SIZE = 128 };

struct option_value {
    const char *name;
    enum option_form form;
    const char *text;            /* borrows from the options, or is `own` */
    bool is_set;                 /* by the environment; otherwise it is the default */
    char own[OPTION_VALUE_SIZE]; /* numbers and shares */
};

/* The value of the setting at `index` as it is in force: a path that was composed from other settings is the whole one.
 * False after the last. Every kind of setting says here what it shows: a kind that may hold a secret, or that names
 * people, is OPTION_HIDDEN. `ret_value` must not be moved. */
bool options_value(const struct options *options, size_t index, struct option_value *ret_value);

/* The level that a word means, as for ASYA_LOG_LEVEL. False, and writes nothing, for any other. */
bool options_parse_level(const char *text, enum log_level *ret_level);

/* A level as ASYA_LOG_LEVEL names it. Static storage. */
const char *options_level_name(enum log_level level);

/* One row of the table, for those who show or set settings. All text is constant. */
struct option_row {
    const char *name;     /* ASYA_WORKERS */
    const char *fallback; /* "" if there is none */
    const char *help;     /* what it means, in one sentence */
    bool is_switch;       /* true or false */
};

/* The row at `index`. False after the last. */
bool options_row(size_t index, struct option_row *ret_row);

#endif
