#include "app/probe.h"

#include "app/output.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/options.h"
#include "server/client.h"
#include "wire/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MAX = 1024, LINE_SIZE = 1280 };

/* With the start of the interpreter below one second, Kubernetes' default for a probe. */
#define PATIENCE (800 * CLOCK_MS)

struct question {
    const char *argument;
    const char *word;   /* the word printed for a runtime that passes */
    bool must_be_ready; /* it must answer that it is ready */
};

static const struct question questions[] = {
    {"--readiness", "ready", true},
    {"--startup", "ready", true},
    {"--liveness", "alive", false},
};

struct probe {
    const struct question *question;
    const char *path;
    const char *ready_file; /* "" for none */
    uint64_t patience;      /* nanoseconds for each exchange */
    char why[LINE_SIZE];    /* for a person */
};

static bool probe_answer(struct probe *probe, bool passes, const char *why)
{
    (void)snprintf(probe->why, sizeof probe->why, "%s", why);
    return passes;
}

static bool probe_starts_with(const struct buffer *buffer, const char *text)
{
    size_t size = strlen(text);
    return buffer->size >= size && memcmp(buffer->data, text, size) == 0;
}

static bool contains(const struct buffer *buffer, const char *text)
{
    size_t size = strlen(text);
    for (size_t at = 0; at + size <= buffer->size; at++) {
        if (memcmp(buffer->data + at, text, size) == 0) {
            return true;
        }
    }
    return false;
}

/* Without HTTP: an empty request, then a half-close. */
static bool ask_empty(struct probe *probe, struct buffer *reply)
{
    struct error err;
    buffer_reset(reply, ANSWER_MAX);
    switch (client_exchange(probe->path, view_of(""), true, clock_after(clock_now(), probe->patience), reply, &err)) {
    case CLIENT_FAILED:
        return probe_answer(probe, false, err.text);
    case CLIENT_SILENT:
        return probe_answer(probe, true, "the connection is accepted, every worker is busy");
    case CLIENT_CLOSED:
        return probe_answer(probe, true, "the connection is accepted");
    case CLIENT_ANSWERED:
        break;
    }
    if (contains(reply, "\"server_error\"")) {
        return probe_answer(probe, !probe->question->must_be_ready, "an empty message is answered server_error");
    }
    return probe_answer(probe, true, "an empty message is answered");
}

static bool ask_http(struct probe *probe, struct buffer *reply)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    struct error err;
    /* half-closed, so that a server that does not speak HTTP sees the end too */
    switch (
        client_exchange(probe->path, view_of(request), true, clock_after(clock_now(), probe->patience), reply, &err)) {
    case CLIENT_FAILED:
        return probe_answer(probe, false, err.text);
    case CLIENT_SILENT:
        return probe_answer(probe, false, "GET /healthz is not answered in time");
    case CLIENT_CLOSED:
    case CLIENT_ANSWERED:
        break;
    }
    if (!probe_starts_with(reply, "HTTP/1.1 ")) {
        return ask_empty(probe, reply);
    }
    char why[64];
    bool is_ready = probe_starts_with(reply, "HTTP/1.1 200 ");
    int digits = reply->size >= sizeof "HTTP/1.1 200" - 1 ? 3 : 0;
    (void)snprintf(why, sizeof why, "GET /healthz is answered %.*s", digits, reply->data + sizeof "HTTP/1.1 " - 1);
    return probe_answer(probe, is_ready || !probe->question->must_be_ready, why);
}

/* An empty ready-file does not count: a full disk leaves one. */
static bool check_ready_file(struct probe *probe)
{
    char byte;
    FD_SCOPED int fd = open(probe->ready_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && read(fd, &byte, 1) == 1) {
        return true;
    }
    (void)snprintf(probe->why, sizeof probe->why, "the ready-file %.1000s %s", probe->ready_file,
                   fd >= 0 ? "has no content" : "is not there");
    return false;
}

static bool ask(struct probe *probe, unsigned protocol)
{
    if (probe->question->must_be_ready && probe->ready_file[0] != '\0' && !check_ready_file(probe)) {
        return false;
    }
    struct buffer reply = buffer_make(ANSWER_MAX);
    bool speaks_http = protocol == PROTOCOL_AUTO || protocol == PROTOCOL_HTTP;
    bool passes = speaks_http ? ask_http(probe, &reply) : ask_empty(probe, &reply);
    buffer_done(&reply);
    return passes;
}

static bool probe_read_arguments(struct probe *probe, int count, const char *const *arguments)
{
    for (int i = 0; i < count; i++) {
        bool known = false;
        for (size_t q = 0; q < sizeof questions / sizeof questions[0]; q++) {
            if (strcmp(arguments[i], questions[q].argument) == 0) {
                probe->question = &questions[q];
                known = true;
            }
        }
        if (!known && strcmp(arguments[i], "--timeout") == 0 && i + 1 < count) {
            known = options_parse_seconds(arguments[++i], &probe->patience) && probe->patience > 0;
        }
        if (!known) {
            log_error(EVENT_COMMAND_FAILED,
                      "probe: bad argument '%s'; usage: asya_runtime.py probe [--readiness | --liveness | --startup] "
                      "[--timeout SECONDS]",
                      arguments[i]);
            return false;
        }
    }
    return true;
}

int probe_run(const char *program, int count, const char *const *arguments)
{
    (void)program;
    struct probe probe = {.question = &questions[0], .patience = PATIENCE};
    if (!probe_read_arguments(&probe, count, arguments)) {
        return EXIT_OPTION;
    }
    struct options options;
    struct error err;
    if (!options_load(&options, &err)) {
        log_error(EVENT_COMMAND_FAILED, "probe: %s", err.text);
        return EXIT_OPTION;
    }
    probe.path = options.socket_path;
    probe.ready_file = options.ready_file;
    bool passes = ask(&probe, options.protocol);
    output_print(passes ? "" : "not ");
    output_print(probe.question->word);
    output_print(": ");
    output_print(probe.why);
    output_print("\n");
    return passes ? EXIT_OK : EXIT_FAILED;
}
