/*
 * The n-th allocation fails, for n = 1, 2, 3, ... until none does: once, and from then on for ever. Every request gets
 * a category or a clean close, nothing is leaked, nothing hangs, and after a single failure the next request is served
 * (faults, E11). That a supervisor asks for none once it has forked is shown in test_supervisor_supervisor.c. malloc,
 * calloc, realloc and free are wrapped by the linker, for the code under test alone.
 */
#include "capture.h"
#include "descriptors.h"
#include "folder.h"
#include "json_check.h"
#include "serving.h"

#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/options.h"
#include "server/control.h"
#include "server/exchange.h"
#include "server/fdstore.h"
#include "supervisor/readyfile.h"
#include "supervisor/recover.h"
#include "supervisor/supervisor.h"
#include "wire/reply.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the allocator ---------------------------------------------------------------------------------------------- */

static struct {
    bool active;
    bool for_ever;      /* all from the n-th on fail, not only that one */
    unsigned fail_at;   /* 0: none */
    unsigned requested; /* allocations asked for while active */
    unsigned failed;
    long live; /* blocks allocated less those freed, while active */
} heap;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);

static bool fails(void)
{
    if (!heap.active) {
        return false;
    }
    heap.requested++;
    bool failed =
        heap.fail_at > 0 && (heap.requested == heap.fail_at || (heap.for_ever && heap.requested > heap.fail_at));
    heap.failed += failed;
    return failed;
}

static void *count(void *block)
{
    heap.live += heap.active && block != NULL;
    return block;
}

void *__wrap_malloc(size_t size) { return fails() ? NULL : count(__real_malloc(size)); }
void *__wrap_calloc(size_t number, size_t size) { return fails() ? NULL : count(__real_calloc(number, size)); }

void *__wrap_realloc(void *block, size_t size)
{
    if (fails()) {
        return NULL;
    }
    return block == NULL ? count(__real_realloc(NULL, size)) : __real_realloc(block, size);
}

void __wrap_free(void *block)
{
    heap.live -= heap.active && block != NULL;
    __real_free(block);
}

/* ---- a request of each kind ------------------------------------------------------------------------------------- */

struct request_row {
    const char *name;
    const char *sent; /* and `size` bytes in all, filled with 'x' before `tail` */
    const char *tail;
    size_t size;
    bool half_close;
    enum protocol protocol;
    const char *expected; /* bare JSON: category, or "" for success; otherwise what stands in the reply */
};

#define POST "POST /invoke HTTP/1.1\r\nHost: a\r\n"
#define LAST "POST /invoke HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"

#define RAW(sent, size, half_close, expected) sent, "", size, half_close, PROTOCOL_RAW, expected
#define FRAMED(sent, half_close, expected)    sent, "", sizeof(sent) - 1, half_close, PROTOCOL_FRAMED, expected
#define HTTP(sent, expected)                  sent, "", sizeof(sent) - 1, false, PROTOCOL_HTTP, expected
#define LONG_HTTP(sent, tail, filler, expected)                                                                        \
    sent, tail, sizeof(sent) - 1 + sizeof(tail) - 1 + (filler), false, PROTOCOL_HTTP, expected

static const struct request_row request_rows[] = {
    {"a success", RAW("[1]", 3, false, "")},
    {"a success in several reads", "\"", "\"", 150000, false, PROTOCOL_RAW, ""},
    {"an open value at the end", RAW("[1", 2, true, "")},
    {"validation_error", RAW("\"1\"", 3, false, "validation_error")},
    {"processing_error", RAW("\"2\"", 3, false, "processing_error")},
    {"message_too_large", "\"", "\"", 200001, false, PROTOCOL_RAW, "message_too_large"},
    {"empty_message", RAW("", 0, true, "empty_message")},
    {"invalid_encoding", RAW("\"5\"", 3, false, "invalid_encoding")},
    {"invalid_json", RAW("hello", 5, true, "invalid_json")},
    {"connection_error", RAW("[1", 2, false, "connection_error")},
    {"server_error", RAW("\"8\"", 3, false, "server_error")},
    {"out_of_memory", RAW("\"9\"", 3, false, "out_of_memory")},
    {"a reply that comes later", RAW("\"L\"", 3, false, "")},
    {"a length prefix", FRAMED("\0\0\0\3[1]", false, "\"ok\"")},
    {"a length prefix above the limit", FRAMED("\1\0\0\0", false, "msg_parsing_error")},
    {"a length prefix cut off", FRAMED("\0\0\0\3[", true, "connection_error")},
    {"a length prefix and a later reply", FRAMED("\0\0\0\3\"L\"", false, "\"ok\"")},
    {"HTTP", HTTP(LAST "Content-Length: 3\r\n\r\n[1]", "\"ok\"")},
    {"HTTP in several reads", LONG_HTTP(LAST "Content-Length: 150000\r\n\r\n\"", "\"", 149998, "\"ok\"")},
    {"HTTP in a chunk",
     LONG_HTTP(LAST "Transfer-Encoding: chunked\r\n\r\n249F0\r\n\"", "\"\r\n0\r\n\r\n", 149998, "\"ok\"")},
    {"two requests of HTTP at once",
     HTTP(POST "Content-Length: 3\r\n\r\n[1]" LAST "Content-Length: 3\r\n\r\n[1]", "\"ok\"")},
    {"malformed HTTP", HTTP("POST /invoke\r\n\r\n", "msg_parsing_error")},
    {"a path of HTTP that is not there", HTTP("GET /x HTTP/1.0\r\n\r\n", "not_found")},
    {"HTTP and a later reply", HTTP(LAST "Content-Length: 3\r\n\r\n\"L\"", "\"ok\"")},
    {"HTTP and a stream", HTTP(LAST "Content-Length: 3\r\n\r\n\"S\"", "\r\n0\r\n\r\n")},
};

/* "N" is answered with category N, everything else with null, after room was made for its size. */
static bool compute(void *context, const struct request *request, struct buffer *reply)
{
    (void)context;
    if (request->size == 3 && request->message[0] == '"') {
        if (reply_error(reply, (enum error_category)(request->message[1] - '0'), view_of("told to"),
                        view_of("Failure")) != BUFFER_OK) {
            reply->size = 0;
        }
        return false;
    }
    bool whole = reply_success_begin(reply) == BUFFER_OK && buffer_append(reply, "null", 4) == BUFFER_OK &&
                 buffer_reserve(reply, request->size) == BUFFER_OK && reply_success_end(reply) == BUFFER_OK;
    if (!whole) {
        reply->size = 0; /* as the real one does: the static out_of_memory reply goes out */
    }
    return whole;
}

static struct server *server;

static struct {
    struct conn *conn; /* of a request that is answered in the next turn; NULL: none */
    bool stream;
} later;

static enum service_status answer(void *context, const struct request *request, struct reply *reply)
{
    if (request->size == 3 && (request->message[1] == 'L' || request->message[1] == 'S')) {
        later.conn = request->conn;
        later.stream = request->message[1] == 'S';
        server_wake(server);
        return SERVICE_LATER;
    }
    reply->succeeded = compute(context, request, &reply->body);
    return SERVICE_DONE;
}

static void send_stream(struct conn *conn)
{
    static char text[700];
    memset(text, '1', sizeof text);
    bool well = exchange_stream(conn);
    for (int i = 0; well && i < 3; i++) {
        well = exchange_event(conn, view_of("downstream"), (struct view){text, sizeof text});
    }
    exchange_stream_end(conn, well);
}

static void collect(void *context)
{
    (void)context;
    struct conn *conn = later.conn;
    later.conn = NULL;
    if (conn == NULL) {
        return; /* the server's own call of server_wake() */
    }
    if (later.stream) {
        send_stream(conn);
        return;
    }
    struct request request = {.message = (const unsigned char *)"[1]", .size = 3};
    struct reply reply = {.body = buffer_make((size_t)1 << 20), .status = 200};
    reply.succeeded = compute(NULL, &request, &reply.body);
    exchange_reply(conn, &reply);
}

enum { NOT_STARTED = 1, LEAKED = 2, FAILED = 4 };

/* In the child: serves until told to drain. Returns what happened, as bits. */
static int serve(struct serving *serving, unsigned fail_at, bool for_ever)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(10);
    struct error err;
    heap.fail_at = fail_at;
    heap.for_ever = for_ever;
    heap.active = true;
    server = server_open(&serving->config, &err);
    bool served = server != NULL;
    if (served) {
        while (server_turn(server, true)) {
        }
        server_close(server);
    }
    heap.active = false;
    return (served ? 0 : NOT_STARTED) | (heap.live != 0 ? LEAKED : 0) | (heap.failed > 0 ? FAILED : 0);
}

static int send_row(const struct serving *serving, const struct request_row *row)
{
    static char bytes[200001];
    int client = caller_connect(serving);
    size_t sent = row->protocol == PROTOCOL_FRAMED ? row->size : strlen(row->sent);
    memset(bytes, 'x', row->size);
    memcpy(bytes, row->sent, sent);
    memcpy(bytes + row->size - strlen(row->tail), row->tail, strlen(row->tail));
    (void)send(client, bytes, row->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (row->half_close) {
        shutdown(client, SHUT_WR);
    }
    return client;
}

struct answered {
    const struct request_row *row;
    size_t size; /* (size_t)-1: no end, or a reset */
    char reply[4000];
};

static void read_reply(int client, const struct request_row *row, struct answered *ret_answered)
{
    ret_answered->row = row;
    ret_answered->size = caller_read(client, ret_answered->reply, sizeof ret_answered->reply);
    close(client);
}

/* A reply with its length prefix or HTTP head is whole: returns its body, or NULL. */
static const char *find_body(const struct answered *answered)
{
    const char *reply = answered->reply;
    if (answered->row->protocol == PROTOCOL_FRAMED) {
        return answered->size >= 4 &&
                       (size_t)(unsigned char)reply[3] + 256 * (size_t)(unsigned char)reply[2] == answered->size - 4
                   ? reply + 4
                   : NULL;
    }
    const char *head = strstr(reply, "\r\n\r\n");
    const char *length = strstr(reply, "Content-Length: ");
    if (head == NULL || length == NULL || strncmp(reply, "HTTP/1.1 ", 9) != 0 ||
        answered->size < (size_t)(head + 4 - reply) + (size_t)atol(length + 16)) {
        return NULL;
    }
    return head + 4;
}

static void check_reply_of_length(const struct answered *answered, unsigned fail_at, bool failed)
{
    bool streams = answered->row->expected[0] == '\r';
    const char *body = answered->size == (size_t)-1 ? NULL : streams ? answered->reply : find_body(answered);
    bool right = body != NULL && strstr(body, answered->row->expected) != NULL;
    bool excused = failed && answered->size != (size_t)-1 &&
                   (answered->size == 0 || streams || (body != NULL && strstr(body, "MemoryError") != NULL));
    if (!right && !excused) {
        fail_msg("%s, allocation %u: %s", answered->row->name, fail_at,
                 answered->size == (size_t)-1 ? "no end" : answered->reply);
    }
}

/* A reply is whole and of the expected category; where an allocation failed it may be out_of_memory, or none. */
static void check_reply(const struct answered *answered, unsigned fail_at, bool failed)
{
    if (answered->row->protocol != PROTOCOL_RAW) {
        check_reply_of_length(answered, fail_at, failed);
        return;
    }
    char code[64] = "";
    size_t code_size;
    size_t size = answered->size;
    const char *expected = answered->row->expected;
    bool valid = size != (size_t)-1 && (size == 0 || json_check(answered->reply, size));
    bool error = valid && json_check_member(answered->reply, size, "error", code, sizeof code, &code_size);
    bool right = valid && (error ? strcmp(code, expected) == 0 : expected[0] == '\0' && size > 0);
    bool excused = failed && valid && (size == 0 || strcmp(code, "out_of_memory") == 0);
    if (!right && !excused) {
        fail_msg("%s, allocation %u: %s", answered->row->name, fail_at,
                 size == (size_t)-1 ? "no end" : answered->reply);
    }
}

/* One round; returns whether an allocation was made to fail. */
static bool run_round(const struct request_row *row, unsigned fail_at, bool for_ever)
{
    static const struct request_row plain = {"the next request", RAW("[1]", 3, false, "")};
    static struct answered answered[2];
    struct serving *serving = serving_make(4);
    serving->config.service = (struct service){.answer = answer, .collect = collect};
    serving->config.alone = true; /* alone: the next request waits for the first */
    serving->config.max_message = 200000;
    serving->config.read_timeout = 20 * CLOCK_MS;
    int first = send_row(serving, row);
    int second = send_row(serving, &plain);
    pid_t child = fork();
    if (child == 0) {
        close(first);
        close(second);
        _exit(serve(serving, fail_at, for_ever));
    }
    fd_close(&serving->listener.fd); /* so that the clients hear of it if the child never serves them */
    assert_int_equal(control_send(serving->control, CONTROL_DRAIN, NULL, 0), 0);
    read_reply(first, row, &answered[0]);
    read_reply(second, &plain, &answered[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    serving_free(serving);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) & LEAKED) != 0) {
        fail_msg("%s, allocation %u: wait status %x", row->name, fail_at, (unsigned)status);
    }
    bool started = (WEXITSTATUS(status) & NOT_STARTED) == 0;
    bool failed = (WEXITSTATUS(status) & FAILED) != 0;
    assert_true(started || failed);
    for (int i = 0; i < 2 && started; i++) {
        check_reply(&answered[i], fail_at, failed);
    }
    return failed;
}

static void every_request_survives_every_failure(void **state)
{
    (void)state;
    capture_begin();
    for (size_t i = 0; i < sizeof request_rows / sizeof request_rows[0]; i++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            unsigned fail_at = 1;
            while (run_round(&request_rows[i], fail_at, for_ever)) {
                fail_at++;
                assert_in_range(fail_at, 1, 200);
            }
            assert_true(fail_at > 3); /* there was something to fail */
        }
    }
    (void)capture_end();
}

/* ---- the supervisor --------------------------------------------------------------------------------------------- */

static int run_worker(void *context, const struct worker_seat *seat)
{
    (void)context;
    heap.active = false;
    (void)control_send(seat->control, CONTROL_READY, NULL, 0);
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    while (control_receive(seat->control, &message, fds) < 0) {
        usleep(1000);
    }
    return EXIT_OK;
}

static void before_fork(void *context) { (void)context; }

static void after_fork(void *context, bool in_child)
{
    (void)context;
    (void)in_child;
}

static void a_supervisor_without_memory_does_not_start_and_leaves_nothing(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE];
    char path[FOLDER_SIZE + 16];
    char ready[FOLDER_SIZE + 16];
    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/app.sock", folder);
    (void)snprintf(ready, sizeof ready, "%s/ready", folder);
    struct options options = {.control_path = "",
                              .http_address = "",
                              .socket_path = path,
                              .ready_file = ready,
                              .process_module = "",
                              .socket_mode = 0600,
                              .workers = 2};
    capture_begin();
    int code = EXIT_INTERNAL;
    for (unsigned fail_at = 1; code == EXIT_INTERNAL; fail_at++) {
        assert_in_range(fail_at, 1, 20);
        pid_t child = fork();
        if (child == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(10);
            struct worker_hooks hooks = {.before_fork = before_fork, .after_fork = after_fork, .run = run_worker};
            heap.fail_at = fail_at;
            heap.for_ever = true;
            heap.active = true;
            code = supervisor_run(&options, &hooks);
            _exit(heap.active && heap.live != 0 ? 99 : code);
        }
        int status = 0;
        while (waitpid(child, &status, WNOHANG) == 0) {
            if (access(ready, F_OK) == 0) { /* from here on it needs no memory: it may stop */
                (void)kill(child, SIGTERM);
            }
            usleep(1000);
        }
        assert_true(WIFEXITED(status));
        code = WEXITSTATUS(status);
        assert_true(code == EXIT_INTERNAL || code == EXIT_OK);
        assert_int_equal(folder_count(folder), 0);
    }
    (void)capture_end();
    folder_remove(folder);
}

/* ---- what needs no memory --------------------------------------------------------------------------------------- */

static struct fdstore slots;
static struct scoreboard page;
static struct orphans orphans;

static void use_slots(struct listener *listener)
{
    struct error err;
    error_set_processing(&err, "WorkerCrashed", "the worker died");
    (void)fdstore_grow(&slots, 4);
    int clients[4];
    static const uint32_t states[4] = {SLOT_FREE, SLOT_WAITING, SLOT_READING, SLOT_RUNNING};
    for (uint32_t i = 0; i < 4; i++) {
        int pair[2] = {-1, -1};
        (void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
        (void)fdstore_put(&slots, i, pair[1]);
        fd_close(&pair[1]);
        clients[i] = pair[0];
        page.slots[i].state = states[i];
    }
    struct recovery recovery = {.board = &page, .orphans = &orphans, .died = &err, .late = &err};
    recover_slots(&recovery, slots.receive, slots.count);
    recover_dismiss(&orphans, listener, &err);
    for (uint32_t i = 0; i < 4; i++) {
        fd_close(&clients[i]);
    }
    fdstore_done(&slots);
}

static void what_the_supervisor_does_after_its_start_needs_no_memory(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE];
    char path[FOLDER_SIZE + 16];
    char ready[FOLDER_SIZE + 16];
    static struct options options;
    struct error err;
    struct listener listener = LISTENER_NONE;
    int old = -1;
    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/app.sock", folder);
    (void)snprintf(ready, sizeof ready, "%s/ready", folder);
    capture_begin();
    heap.requested = 0;
    heap.fail_at = 0;
    heap.active = true;
    (void)options_load(&options, &err);
    int opened = listener_open(&listener, &LISTENER_WISH(path, 0600), &err);
    int published = listener_publish(&listener);
    (void)listener_check(&listener);
    (void)unlink(path);
    enum listener_renewal renewed = listener_renew(&listener, &old, &err);
    (void)readyfile_write(ready);
    log_error(EVENT_RUNTIME_ERROR, "%s", "a line");
    log_event(LOG_LEVEL_ERROR, EVENT_RUNTIME_ERROR, &(struct log_facts){.stack = "and its stack"}, "a line");
    use_slots(&listener);
    readyfile_remove(ready);
    listener_close(&listener);
    heap.active = false;
    fd_close(&old);
    (void)capture_end();
    folder_remove(folder);
    assert_int_equal(opened, EXIT_OK);
    assert_int_equal(published, 0);
    assert_int_equal(renewed, LISTENER_RENEWED);
    assert_int_equal(heap.requested, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(every_request_survives_every_failure),
        DESCRIPTOR_TEST(a_supervisor_without_memory_does_not_start_and_leaves_nothing),
        DESCRIPTOR_TEST(what_the_supervisor_does_after_its_start_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
