/* http: what a client of HTTP gets from a connection, request by request, and what becomes of the connection. */
#include "capture.h"
#include "descriptors.h"
#include "http_client.h"
#include "malformed.h"
#include "serving.h"

#include "base/clock.h"
#include "server/conn.h"
#include "server/control.h"
#include "server/dispatch.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct http_client client_memory;
static struct http_response response_memory;

#define POST          "POST /invoke HTTP/1.1\r\nHost: a\r\n"
#define WITH(n, body) POST "Content-Length: " #n "\r\n\r\n" body
#define CHUNKED(body) POST "Transfer-Encoding: chunked\r\n\r\n" body
#define OK(json)      "{\"status\":\"ok\",\"result\":" json "}"
#define READY         "{\"status\":\"ready\"}"

/* ---- requests and their responses ------------------------------------------------------------------------------- */

enum { RESPONSES_MAX = 4 };

struct expected {
    unsigned status;
    const char *body; /* NULL: not looked at; "": none */
    const char *allow;
};

struct http_row {
    const char *name;
    const char *sent;
    bool stays;     /* the connection stays open */
    bool head;      /* the first is a HEAD */
    uint32_t calls; /* of the service */
    struct expected responses[RESPONSES_MAX];
};

static const struct http_row http_rows[] = {
    {"a body of a known length", WITH(7, "{\"a\":1}"), true, false, 1, {{200, OK("{\"a\":1}"), ""}}},
    {"header fields in any letters",
     "POST /invoke HTTP/1.1\r\nhOsT: a\r\ncontent-LENGTH: 3\r\n\r\n[1]",
     true,
     false,
     1,
     {{200, OK("[1]"), ""}}},
    {"an empty line before the request", "\r\n" WITH(3, "[1]"), true, false, 1, {{200, OK("[1]"), ""}}},
    {"a query behind the path",
     "POST /invoke?a=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
     true,
     false,
     1,
     {{200, OK("[1]"), ""}}},
    {"a whole URL as the target",
     "POST http://a/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
     true,
     false,
     1,
     {{200, OK("[1]"), ""}}},
    {"one chunk", CHUNKED("3\r\n[1]\r\n0\r\n\r\n"), true, false, 1, {{200, OK("[1]"), ""}}},
    {"several chunks",
     CHUNKED("1\r\n[\r\n002\r\n1,\r\nA\r\n\"abcdefgh\"\r\n1\r\n]\r\n0\r\n\r\n"),
     true,
     false,
     1,
     {{200, OK("[1,\"abcdefgh\"]"), ""}}},
    {"chunks with extensions and trailer fields",
     CHUNKED("3;a=b\r\n[1]\r\n0;c\r\nX-A: b\r\nX-B: c\r\n\r\n"),
     true,
     false,
     1,
     {{200, OK("[1]"), ""}}},
    {"a reply without a body", WITH(6, "\"none\""), true, false, 0, {{204, "", ""}}},
    {"a failure of the function leaves the connection open", WITH(6, "\"fail\""), true, false, 1, {{500, NULL, ""}}},
    {"no memory for a reply", WITH(9, "\"nothing\""), false, false, 1, {{500, NULL, ""}}},
    {"a client that wants the connection closed",
     POST "Content-Length: 3\r\nConnection: close\r\n\r\n[1]",
     false,
     false,
     1,
     {{200, OK("[1]"), ""}}},
    {"close among other options",
     POST "Content-Length: 3\r\nConnection: x, Close\r\n\r\n[1]",
     false,
     false,
     1,
     {{200, OK("[1]"), ""}}},
    {"HTTP/1.0", "POST /invoke HTTP/1.0\r\nContent-Length: 3\r\n\r\n[1]", false, false, 1, {{200, OK("[1]"), ""}}},
    {"HTTP/1.0 that wants to stay",
     "POST /invoke HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n[1]",
     true,
     false,
     1,
     {{200, OK("[1]"), ""}}},
    {"health", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", true, false, 0, {{200, READY, ""}}},
    {"health with a query", "GET /healthz?a HTTP/1.1\r\nHost: a\r\n\r\n", true, false, 0, {{200, READY, ""}}},
    {"health with a length of nothing",
     "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
     true,
     false,
     0,
     {{200, READY, ""}}},
    {"the head of health", "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n", true, true, 0, {{200, "", ""}}},
    {"health in HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", false, false, 0, {{200, READY, ""}}},
    {"health by another method",
     "POST /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
     true,
     false,
     0,
     {{405, NULL, "GET, HEAD"}}},
    {"the function by GET", "GET /invoke HTTP/1.1\r\nHost: a\r\n\r\n", true, false, 0, {{405, NULL, "POST"}}},
    {"the function by HEAD", "HEAD /invoke HTTP/1.1\r\nHost: a\r\n\r\n", true, true, 0, {{405, "", "POST"}}},
    {"the function by PUT with a body",
     "PUT /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
     false,
     false,
     0,
     {{405, NULL, "POST"}}},
    {"another path", "GET /other HTTP/1.1\r\nHost: a\r\n\r\n", true, false, 0, {{404, NULL, ""}}},
    {"another path with a body",
     "POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
     false,
     false,
     0,
     {{404, NULL, ""}}},
    {"a path that only begins like the right one",
     "POST /invoke/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
     false,
     false,
     0,
     {{404, NULL, ""}}},
    {"the path in escapes",
     "POST /%69nvoke HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
     false,
     false,
     0,
     {{404, NULL, ""}}},
    {"every path at once", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", true, false, 0, {{404, NULL, ""}}},
    {"no body", POST "\r\n", false, false, 0, {{400, NULL, ""}}},
    {"a body of no bytes", WITH(0, ""), false, false, 0, {{400, NULL, ""}}},
    {"no chunk but the last", CHUNKED("0\r\n\r\n"), false, false, 0, {{400, NULL, ""}}},
    {"a length one above the limit", WITH(1048577, ""), false, false, 0, {{413, NULL, ""}}},
    {"a chunk one above the limit", CHUNKED("100001\r\n"), false, false, 0, {{413, NULL, ""}}},
    {"an HTTP version nobody speaks",
     "POST /invoke HTTP/2.0\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1]",
     false,
     false,
     0,
     {{505, NULL, ""}}},
    {"what is not HTTP behind a capital letter", "Hello\r\n\r\n", false, false, 0, {{400, NULL, ""}}},
    {"three requests at once",
     WITH(1, "1") WITH(1, "2") WITH(1, "3"),
     true,
     false,
     3,
     {{200, OK("1"), ""}, {200, OK("2"), ""}, {200, OK("3"), ""}}},
    {"requests of all kinds at once",
     "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" CHUNKED(
         "3\r\n[1]\r\n0\r\n\r\n") "GET /x HTTP/1.1\r\nHost: a\r\n\r\n" WITH(3, "[2]"),
     true,
     false,
     2,
     {{200, READY, ""}, {200, OK("[1]"), ""}, {404, NULL, ""}, {200, OK("[2]"), ""}}},
    {"an empty line between requests",
     WITH(1, "1") "\r\n" WITH(1, "2"),
     true,
     false,
     2,
     {{200, OK("1"), ""}, {200, OK("2"), ""}}},
    {"a malformed request behind a good one",
     WITH(1, "1") "POST /invoke HTTP/1.1\n",
     false,
     false,
     1,
     {{200, OK("1"), ""}, {400, NULL, ""}}},
    {"a good request behind a malformed one",
     "POST /invoke HTTP/1.1\n\r\n" WITH(1, "1"),
     false,
     false,
     0,
     {{400, NULL, ""}}},
};

/* Its bytes may come between the server's last look and its close: then the end is a reset, behind the response. */
static const struct http_row row_behind_a_close = {"what comes behind a request that closes is not looked at",
                                                   POST "Content-Length: 1\r\nConnection: close\r\n\r\n1" WITH(1, "2"),
                                                   false,
                                                   false,
                                                   1,
                                                   {{200, OK("1"), ""}}};

static void check_response(const struct http_row *row, const char *how, size_t number)
{
    const struct expected *expected = &row->responses[number];
    struct http_response *response = &response_memory;
    if (!http_client_read(&client_memory, row->head && number == 0, response)) {
        fail_msg("%s, %s: no response %zu", row->name, how, number + 1);
    }
    bool same = response->status == expected->status && strcmp(response->allow, expected->allow) == 0 &&
                (expected->body == NULL || strcmp(response->body, expected->body) == 0);
    bool last = number + 1 == RESPONSES_MAX || row->responses[number + 1].status == 0;
    bool says_so = response->close == (last && !row->stays);
    bool typed = expected->status == 204 || strcmp(response->type, "application/json") == 0;
    bool sized = response->has_length == (expected->status != 204);
    if (!same || !says_so || !typed || !sized) {
        fail_msg("%s, %s: response %zu is %u%s %s %s", row->name, how, number + 1, response->status,
                 response->close ? ", closes," : "", response->allow, response->body);
    }
}

/* The connection takes another request, or is closed. */
static void check_connection(const struct http_row *row, const char *how, int fd)
{
    struct http_client *client = &client_memory;
    if (!row->stays) {
        bool ends = http_client_ends(client);
        if (!ends && !(row == &row_behind_a_close && client->reset && client->size == 0)) {
            fail_msg("%s, %s: the connection is not closed, or more was sent: %.*s", row->name, how, (int)client->size,
                     client->data);
        }
        return;
    }
    static const char again[] = WITH(5, "\"end\"");
    if (client->size > 0 || !caller_send(fd, again, sizeof again - 1) ||
        !http_client_read(client, false, &response_memory) || strcmp(response_memory.body, OK("\"end\"")) != 0) {
        fail_msg("%s, %s: the connection takes no further request", row->name, how);
    }
}

enum way { WHOLE, BYTEWISE, IN_TWO };

static void send_row(int fd, const struct http_row *row, enum way way, size_t cut)
{
    size_t size = strlen(row->sent);
    if (way == BYTEWISE) {
        (void)caller_send_bytewise(fd, row->sent, size);
    } else if (way == IN_TWO) {
        (void)caller_send(fd, row->sent, cut);
        usleep(200);
        (void)caller_send(fd, row->sent + cut, size - cut);
    } else {
        (void)caller_send(fd, row->sent, size);
    }
}

static void run_row(struct serving *serving, const struct http_row *row, enum way way, size_t cut)
{
    char how[32];
    uint32_t before = serving->answers;
    int fd = caller_connect(serving);
    (void)snprintf(how, sizeof how, way == WHOLE ? "whole" : way == BYTEWISE ? "byte by byte" : "cut at %zu", cut);
    http_client_begin(&client_memory, fd);
    send_row(fd, row, way, cut);
    for (size_t i = 0; i < RESPONSES_MAX && row->responses[i].status != 0; i++) {
        check_response(row, how, i);
    }
    check_connection(row, how, fd);
    close(fd);
    if (serving->answers - before - row->stays != row->calls) {
        fail_msg("%s, %s: %u calls of the service", row->name, how, serving->answers - before - row->stays);
    }
}

static void run_ways(struct serving *serving, const struct http_row *row, bool cut_in_two)
{
    run_row(serving, row, WHOLE, 0);
    run_row(serving, row, BYTEWISE, 0);
    for (size_t cut = 1; cut_in_two && cut < strlen(row->sent); cut += 13) {
        run_row(serving, row, IN_TWO, cut);
    }
}

static void every_request_has_its_response_however_it_is_cut(void **state)
{
    (void)state;
    for (uint32_t slots = 0; slots <= 4; slots += 4) {
        capture_begin();
        struct serving *serving = serving_make(slots);
        serving->config.protocol = slots == 0 ? PROTOCOL_AUTO : PROTOCOL_HTTP;
        serving_start(serving);
        for (size_t i = 0; i < sizeof http_rows / sizeof http_rows[0]; i++) {
            const struct http_row *row = &http_rows[i];
            if (slots == 0 && row->sent[0] == '\r') {
                continue; /* not HTTP where the first byte tells */
            }
            run_ways(serving, row, slots > 0);
        }
        run_ways(serving, &row_behind_a_close, slots > 0);
        assert_true(serving_stop(serving));
        (void)capture_end();
    }
}

static void check_refusal(const struct malformed *row, const char *how)
{
    struct http_response *response = &response_memory;
    if (!http_client_read(&client_memory, false, response) || response->status != row->status || !response->close ||
        strstr(response->body, "\"error\":\"msg_parsing_error\"") == NULL) {
        fail_msg("%s, %s: %u instead of %u: %s", row->name, how, response->status, row->status, response->body);
    }
    if (!http_client_ends(&client_memory)) {
        fail_msg("%s, %s: the connection is not closed", row->name, how);
    }
}

static void malformed_requests_are_refused_and_the_service_never_called(void **state)
{
    (void)state;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.max_message = malformed_limit;
    serving->config.protocol = PROTOCOL_HTTP; /* some begin with another byte than HTTP is told by */
    serving_start(serving);
    for (size_t i = 0; i < malformed_count; i++) {
        const struct malformed *row = &malformed_rows[i];
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            int fd = caller_connect(serving);
            http_client_begin(&client_memory, fd);
            if (bytewise == 0) {
                (void)caller_send(fd, row->bytes, row->size);
            } else {
                size_t head = row->size < 500 ? row->size : 500; /* of long ones the rest at once */
                (void)(caller_send_bytewise(fd, row->bytes, head) &&
                       caller_send(fd, row->bytes + head, row->size - head));
            }
            check_refusal(row, bytewise == 0 ? "whole" : "byte by byte");
            close(fd);
        }
    }
    assert_int_equal(serving->answers, 0);
    assert_int_equal(serving->board.requests, 0);
    assert_int_equal(serving->board.refused, 2 * malformed_count);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* ---- many requests, large requests ------------------------------------------------------------------------------ */

/* Waits until the client can send (true) or has something to read (false). */
static bool can_send(int fd, bool wants)
{
    struct pollfd look = {.fd = fd, .events = (short)(POLLIN | (wants ? POLLOUT : 0))};
    assert_int_equal(poll(&look, 1, 5000), 1);
    return (look.revents & POLLOUT) != 0;
}

/* Sends while it reads: a client that only wrote would wait for a server that waits for it to read. */
static void send_and_read(int fd, const char *bytes, size_t size, void (*each)(size_t number), size_t count)
{
    size_t sent = 0;
    for (size_t read = 0; read < count || sent < size;) {
        if (can_send(fd, sent < size)) {
            ssize_t put = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += put > 0 ? (size_t)put : 0;
            continue;
        }
        do {
            assert_true(http_client_read(&client_memory, false, &response_memory));
            each(read++);
        } while (client_memory.size > 0 && read < count);
    }
}

static void is_echo_of_number(size_t number)
{
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, OK("\"%05zu\""), number);
    assert_int_equal(response_memory.status, 200);
    assert_string_equal(response_memory.body, wanted);
}

static void more_requests_at_once_than_any_buffer_holds_are_answered_in_order(void **state)
{
    (void)state;
    enum { COUNT = 5000, EACH = sizeof WITH(7, "\"00000\"") - 1 };
    char *bytes = malloc(COUNT * (EACH + 1));
    assert_non_null(bytes);
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(bytes + i * EACH, EACH + 1, WITH(7, "\"%05zu\""), i);
    }
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    send_and_read(fd, bytes, (size_t)COUNT * EACH, is_echo_of_number, COUNT);
    close(fd);
    free(bytes);
    assert_int_equal(serving->answers, COUNT);
    assert_true(serving_stop(serving));
}

/* A string value of `size` bytes at `target`. */
static void fill_message(char *target, size_t size)
{
    memset(target, 'x', size);
    target[0] = target[size - 1] = '"';
}

static size_t put_chunked(char *target, const char *message, size_t size, size_t each)
{
    size_t used = (size_t)sprintf(target, CHUNKED(""));
    for (size_t at = 0; at < size; at += each) {
        size_t part = size - at < each ? size - at : each;
        used += (size_t)sprintf(target + used, "%zx\r\n", part);
        memcpy(target + used, message + at, part);
        used += part;
        memcpy(target + used, "\r\n", 2);
        used += 2;
    }
    memcpy(target + used, "0\r\n\r\n", 5);
    return used + 5;
}

static const size_t large_sizes[] = {2, 65400, 65535, 65536, 65537, 131072, 300000, (1 << 20) - 1, 1 << 20};
static size_t large_at;

static void is_large_echo(size_t number)
{
    (void)number;
    size_t size = large_sizes[large_at];
    static const char begin[] = "{\"status\":\"ok\",\"result\":\"";
    assert_int_equal(response_memory.body_size, size + sizeof OK("") - 1);
    assert_memory_equal(response_memory.body, begin, sizeof begin - 1);
    for (size_t i = 1; i + 1 < size; i++) {
        assert_int_equal(response_memory.body[sizeof begin - 2 + i], 'x');
    }
}

static void bodies_up_to_the_limit_arrive_with_a_length_and_in_chunks(void **state)
{
    (void)state;
    enum { LIMIT = 1 << 20, ROOM = 4 * LIMIT };
    static char message[LIMIT];
    char *bytes = malloc(ROOM);
    assert_non_null(bytes);
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving); /* one connection for all: what is left of one request is not taken for another */
    http_client_begin(&client_memory, fd);
    for (large_at = 0; large_at < sizeof large_sizes / sizeof large_sizes[0]; large_at++) {
        size_t size = large_sizes[large_at];
        fill_message(message, size);
        size_t used = (size_t)sprintf(bytes, POST "Content-Length: %zu\r\n\r\n", size);
        memcpy(bytes + used, message, size);
        send_and_read(fd, bytes, used + size, is_large_echo, 1);
        for (size_t each = 7; each <= LIMIT; each *= 300) {
            send_and_read(fd, bytes, put_chunked(bytes, message, size, each), is_large_echo, 1);
        }
    }
    close(fd);
    free(bytes);
    assert_true(serving_stop(serving));
}

static void chunks_may_be_cut_anywhere(void **state)
{
    (void)state;
    static const char sent[] = CHUNKED("3;e=\"1\"\r\n[1,\r\n0a\r\n\"abcdefgh\"\r\n1\r\n]\r\n0\r\nX-A: b\r\n\r\n");
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    for (size_t first = 1; first + 1 < sizeof sent - 1; first++) {
        for (size_t second = first + 1; second < sizeof sent - 1; second += 31) {
            assert_true(caller_send(fd, sent, first));
            sched_yield();
            assert_true(caller_send(fd, sent + first, second - first));
            sched_yield();
            assert_true(caller_send(fd, sent + second, sizeof sent - 1 - second));
            assert_true(http_client_read(&client_memory, false, &response_memory));
            assert_string_equal(response_memory.body, OK("[1,\"abcdefgh\"]"));
        }
    }
    close(fd);
    assert_true(serving_stop(serving));
}

static void a_body_over_the_limit_is_refused_also_to_who_still_writes(void **state)
{
    (void)state;
    enum { SIZE = 16 << 20 };
    char *body = malloc(SIZE);
    assert_non_null(body);
    memset(body, 'x', SIZE);
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (int chunked = 0; chunked < 2; chunked++) {
        char head[128];
        int size = snprintf(head, sizeof head, chunked ? CHUNKED("%x\r\n") : POST "Content-Length: %d\r\n\r\n", SIZE);
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        (void)caller_send(fd, head, (size_t)size);
        (void)caller_send(fd, body, SIZE);
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_int_equal(response_memory.status, 413);
        assert_true(http_client_ends(&client_memory));
        close(fd);
    }
    free(body);
    assert_int_equal(serving->answers, 0);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* ---- 100-continue ----------------------------------------------------------------------------------------------- */

static void who_waits_for_100_continue_is_told_to_go_on_before_the_body(void **state)
{
    (void)state;
    static const char *const heads[] = {POST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
                                        POST "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n"};
    static const char *const bodies[] = {"[1]", "3\r\n[1]\r\n0\r\n\r\n"};
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    for (int i = 0; i < 4; i++) {
        assert_true(caller_send(fd, heads[i % 2], strlen(heads[i % 2])));
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_int_equal(response_memory.status, 100);
        assert_int_equal(serving->answers, i);
        assert_true(caller_send(fd, bodies[i % 2], strlen(bodies[i % 2])));
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_int_equal(response_memory.status, 200);
        assert_string_equal(response_memory.body, OK("[1]"));
    }
    close(fd);
    assert_true(serving_stop(serving));
}

static void who_may_not_send_its_body_is_not_told_to_go_on(void **state)
{
    (void)state;
    static const struct {
        const char *sent;
        unsigned status;
    } rows[] = {
        {POST "Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n", 413},
        {"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", 404},
        {"PUT /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", 405},
        {POST "Content-Length: 3\r\nExpect: something\r\n\r\n", 417},
    };
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        assert_true(caller_send(fd, rows[i].sent, strlen(rows[i].sent)));
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_int_equal(response_memory.status, rows[i].status);
        assert_true(http_client_ends(&client_memory));
        close(fd);
    }
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* ---- time and clients that go ----------------------------------------------------------------------------------- */

static void exchange_on(int fd, const char *sent, unsigned status)
{
    assert_true(caller_send(fd, sent, strlen(sent)));
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_int_equal(response_memory.status, status);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.keepalive_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    exchange_on(fd, WITH(3, "[1]"), 200);
    assert_true(http_client_ends(&client_memory));
    close(fd);
    assert_true(serving_stop(serving));
    assert_string_equal(capture_end(), "");
}

/* One that has only connected has no more time than for a request, and a request that has begun has no less. */
static void an_idle_connection_outlives_the_time_for_a_request(void **state)
{
    (void)state;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.read_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    for (int i = 0; i < 3; i++) {
        exchange_on(fd, WITH(3, "[1]"), 200);
        usleep(250000);
    }
    exchange_on(fd, POST, 408);
    assert_true(http_client_ends(&client_memory));
    close(fd);
    int silent = caller_connect(serving);
    char reply[256];
    assert_true(caller_read(silent, reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "connection_error"));
    close(silent);
    assert_int_equal(serving->answers, 3);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "ASYA_READ_TIMEOUT"), 2);
}

static void a_further_request_has_its_whole_time_however_long_the_connection_was_idle(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving->config.read_timeout = 2 * CLOCK_SECOND;
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    exchange_on(fd, WITH(3, "[1]"), 200);
    usleep(1300000);
    assert_true(caller_send(fd, POST, sizeof POST - 1));
    usleep(1000000);
    exchange_on(fd, "Content-Length: 3\r\n\r\n[2]", 200);
    close(fd);
    assert_true(serving_stop(serving));
}

static void who_is_late_with_a_request_is_told_and_sent_away(void **state)
{
    (void)state;
    static const char *const rows[] = {"P", POST, WITH(3, "[1"), CHUNKED("3\r\n[1]\r\n"),
                                       WITH(1, "1") POST "Content-Length: 3\r\n\r\n"};
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.read_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        assert_true(caller_send(fd, rows[i], strlen(rows[i])));
        if (i == 4) {
            assert_true(http_client_read(&client_memory, false, &response_memory));
            assert_int_equal(response_memory.status, 200);
        }
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_in_range(response_memory.status, 400, 499);
        assert_true(response_memory.close);
        assert_true(http_client_ends(&client_memory));
        close(fd);
    }
    assert_int_equal(serving->answers, 1);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "connection_error"), 5);
}

static void a_half_close_behind_a_request_does_not_cost_its_reply(void **state)
{
    (void)state;
    static const char *const rows[] = {WITH(3, "[1]"), CHUNKED("3\r\n[1]\r\n0\r\n\r\n"), WITH(3, "[0]") WITH(3, "[1]")};
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        assert_true(caller_send(fd, rows[i], strlen(rows[i])));
        shutdown(fd, SHUT_WR);
        for (size_t j = 0; j < (i == 2 ? 2 : 1); j++) {
            assert_true(http_client_read(&client_memory, false, &response_memory));
        }
        assert_string_equal(response_memory.body, OK("[1]"));
        assert_true(http_client_ends(&client_memory));
        close(fd);
    }
    assert_true(serving_stop(serving));
}

static void a_request_that_is_cut_by_a_half_close_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"P", "POST /invoke HTTP/1.1\r\nHost: a\r\n", WITH(3, "[1"),
                                       CHUNKED("3\r\n[1]\r\n"), CHUNKED("3\r\n[1]\r\n0\r\n")};
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        assert_true(caller_send(fd, rows[i], strlen(rows[i])));
        shutdown(fd, SHUT_WR);
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_int_equal(response_memory.status, 400);
        assert_true(http_client_ends(&client_memory));
        close(fd);
    }
    assert_int_equal(serving->answers, 0);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void a_client_may_go_at_any_time(void **state)
{
    (void)state;
    static const char sent[] = WITH(3, "[0]") "POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[1";
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    size_t first = sizeof WITH(3, "[0]") - 1;
    unsigned gone = 0; /* with part of a request sent */
    for (size_t cut = first; cut <= sizeof sent - 1;
         cut += 3, gone++) { /* fewer than the log takes of one kind at once */
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        assert_true(caller_send(fd, sent, cut));
        assert_true(http_client_read(&client_memory, false, &response_memory));
        close(fd);
    }
    int other = caller_connect(serving);
    http_client_begin(&client_memory, other);
    exchange_on(other, WITH(3, "[2]"), 200);
    close(other);
    assert_true(serving_stop(serving));
    const char *log = capture_end();
    assert_int_equal(capture_count(log, "\n"), gone - 1); /* the first was idle, which is not worth a line */
    assert_int_equal(capture_count(log, "connection_error"), gone - 1);
}

static void a_slow_reader_of_a_large_reply_keeps_its_connection(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    assert_true(caller_send(fd, WITH(13, "\"big 2000000\""), sizeof WITH(13, "\"big 2000000\"") - 1));
    assert_true(caller_send(fd, WITH(3, "[1]"), sizeof WITH(3, "[1]") - 1)); /* waits for its turn */
    usleep(20000);
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_int_equal(response_memory.body_size, 2000000);
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_string_equal(response_memory.body, OK("[1]"));
    close(fd);
    assert_true(serving_stop(serving));
}

static void who_does_not_read_its_response_is_closed_at_the_deadline(void **state)
{
    (void)state;
    static const char sent[] = WITH(13, "\"big 6000000\"");
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.write_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    int fd = caller_connect(serving);
    assert_true(caller_send(fd, sent, sizeof sent - 1));
    struct pollfd look = {.fd = fd};
    assert_int_equal(poll(&look, 1, 5000), 1);
    assert_true(look.revents & POLLHUP);
    close(fd);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "ASYA_WRITE_TIMEOUT"), 1);
}

/* ---- stopping, retiring, handing on ----------------------------------------------------------------------------- */

static void a_drain_closes_who_is_idle_and_answers_who_is_not(void **state)
{
    (void)state;
    capture_begin();
    struct serving *serving = serving_make(8);
    serving->config.concurrency = 2;
    serving->config.alone = true; /* alone: health is asked of it while the function runs */
    serving_start(serving);
    int idle = caller_connect(serving);
    http_client_begin(&client_memory, idle);
    exchange_on(idle, WITH(3, "[1]"), 200);
    int running = caller_connect(serving);
    assert_true(caller_send(running, WITH(7, "\"later\""), sizeof WITH(7, "\"later\"") - 1));
    serving_await_held(serving, 1);
    (void)control_send(serving->control, CONTROL_DRAIN, NULL, 0);
    assert_true(http_client_ends(&client_memory)); /* the drain has begun */
    int asking = caller_connect(serving);
    http_client_begin(&client_memory, asking);
    exchange_on(asking, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 503);
    assert_true(response_memory.close);
    serving_complete(serving, 0);
    http_client_begin(&client_memory, running);
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_int_equal(response_memory.status, 200);
    assert_true(response_memory.close); /* whatever the client asked for */
    assert_true(http_client_ends(&client_memory));
    close(idle);
    close(running);
    close(asking);
    assert_true(serving_finish(serving));
    (void)capture_end();
}

struct parting {
    int client;
    const char *sent;
    bool was_run; /* from within, where another message may lie in the scratch buffer */
};

/* Between the two no other client is heard: as if the time had passed at this moment. */
static void send_and_part(struct serving *serving, void *argument)
{
    struct parting *parting = argument;
    assert_true(caller_send(parting->client, parting->sent, strlen(parting->sent)));
    uint32_t answers = serving->answers;
    dispatch_part(serving->held[serving->held_count - 1].conn);
    parting->was_run = serving->answers > answers;
}

static void an_idle_connection_that_ends_answers_what_has_just_come(void **state)
{
    (void)state;
    static const struct {
        const char *sent;
        int status; /* 0: only the end */
    } rows[] = {{"", 0}, {WITH(3, "[2]"), 200}, {WITH(3, "[2]") WITH(3, "[3]"), 200}, {"POST /inv", 503}};
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        assert_true(caller_send(fd, WITH(7, "\"later\""), sizeof WITH(7, "\"later\"") - 1));
        serving_await_held(serving, i + 1);
        serving_complete(serving, i);
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_false(response_memory.close);
        struct parting parting = {.client = fd, .sent = rows[i].sent};
        serving_do(serving, send_and_part, &parting);
        assert_false(parting.was_run);
        if (rows[i].status != 0) {
            assert_true(http_client_read(&client_memory, false, &response_memory));
            assert_int_equal(response_memory.status, rows[i].status);
            assert_true(response_memory.close);
        }
        assert_true(http_client_ends(&client_memory));
        assert_int_equal(send(fd, "P", 1, MSG_NOSIGNAL), -1); /* what would be in vain fails */
        assert_int_equal(errno, EPIPE);
        close(fd);
    }
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void an_idle_connection_goes_on_to_the_next_worker_when_this_one_retires(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    exchange_on(fd, WITH(3, "[1]"), 200);
    serving_await_slot(serving, 0, SLOT_WAITING);
    (void)control_send(serving->control, CONTROL_RETIRE, NULL, 0);
    assert_true(serving_join(serving));
    struct pollfd look = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&look, 1, 0), 0); /* not closed */
    int next = fdstore_take(serving->fdstore.receive[0]);
    assert_true(next >= 0);
    assert_true(caller_send(fd, "hello", 5));
    char got[8] = "";
    assert_int_equal(recv(next, got, sizeof got, 0), 5);
    close(next);
    close(fd);
    serving_free(serving);
}

/* Takes a connection as the supervisor does, from a worker that waits on it; returns the duplicate. */
static int take_back(struct serving *serving, uint32_t slot)
{
    serving_await_slot(serving, slot, SLOT_WAITING);
    int taken = fdstore_peek(serving->fdstore.receive[slot]);
    assert_true(taken >= 0);
    assert_true(slot_move(&serving->board.slots[slot], SLOT_WAITING, SLOT_TAKEN));
    return taken;
}

static void a_connection_that_was_taken_back_is_left_alone(void **state)
{
    (void)state;
    static const char sent[] = WITH(3, "[2]");
    for (int before = 0; before < 2; before++) { /* fresh, and kept alive */
        char got[256];
        struct serving *serving = serving_make(4);
        serving_start(serving);
        int fd = caller_connect(serving);
        http_client_begin(&client_memory, fd);
        if (before == 1) {
            exchange_on(fd, WITH(3, "[1]"), 200);
        }
        int taken = take_back(serving, 0);
        assert_true(caller_send(fd, sent, sizeof sent - 1));
        serving_await_slot(serving, 0, SLOT_FREE); /* the worker has let go */
        assert_int_equal(recv(taken, got, sizeof got, MSG_DONTWAIT), sizeof sent - 1);
        assert_memory_equal(got, sent, sizeof sent - 1);
        assert_true(caller_send(taken, "HTTP/1.1 204 No Content\r\n\r\n", 27));
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_int_equal(response_memory.status, 204);
        assert_int_equal(serving->answers, before);
        close(taken);
        close(fd);
        assert_true(serving_stop(serving));
    }
}

static void slots_follow_a_connection_from_request_to_request(void **state)
{
    (void)state;
    struct serving *serving = serving_make(1);
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    for (uint32_t i = 0; i < 3; i++) {
        serving_await_slot(serving, 0, SLOT_WAITING);
        assert_true(caller_send(fd, POST, sizeof POST - 1));
        serving_await_slot(serving, 0, SLOT_READING);
        assert_true(caller_send(fd, "Content-Length: 7\r\n\r\n\"later\"", 28));
        serving_await_held(serving, i + 1);
        assert_int_equal(slot_state(&serving->board.slots[0]), SLOT_RUNNING);
        assert_int_equal(serving->board.slots[0].sequence, i + 1);
        assert_int_equal(serving->board.slots[0].protocol, PROTOCOL_HTTP);
        serving_complete(serving, i);
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_string_equal(response_memory.body, OK("\"later\""));
    }
    close(fd);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(every_request_has_its_response_however_it_is_cut),
        DESCRIPTOR_TEST(malformed_requests_are_refused_and_the_service_never_called),
        DESCRIPTOR_TEST(more_requests_at_once_than_any_buffer_holds_are_answered_in_order),
        DESCRIPTOR_TEST(bodies_up_to_the_limit_arrive_with_a_length_and_in_chunks),
        DESCRIPTOR_TEST(chunks_may_be_cut_anywhere),
        DESCRIPTOR_TEST(a_body_over_the_limit_is_refused_also_to_who_still_writes),
        DESCRIPTOR_TEST(who_waits_for_100_continue_is_told_to_go_on_before_the_body),
        DESCRIPTOR_TEST(who_may_not_send_its_body_is_not_told_to_go_on),
        DESCRIPTOR_TEST(an_idle_connection_is_closed_without_a_word),
        DESCRIPTOR_TEST(an_idle_connection_outlives_the_time_for_a_request),
        DESCRIPTOR_TEST(a_further_request_has_its_whole_time_however_long_the_connection_was_idle),
        DESCRIPTOR_TEST(who_is_late_with_a_request_is_told_and_sent_away),
        DESCRIPTOR_TEST(a_half_close_behind_a_request_does_not_cost_its_reply),
        DESCRIPTOR_TEST(a_request_that_is_cut_by_a_half_close_is_refused),
        DESCRIPTOR_TEST(a_client_may_go_at_any_time),
        DESCRIPTOR_TEST(a_slow_reader_of_a_large_reply_keeps_its_connection),
        DESCRIPTOR_TEST(who_does_not_read_its_response_is_closed_at_the_deadline),
        DESCRIPTOR_TEST(a_drain_closes_who_is_idle_and_answers_who_is_not),
        DESCRIPTOR_TEST(an_idle_connection_that_ends_answers_what_has_just_come),
        DESCRIPTOR_TEST(an_idle_connection_goes_on_to_the_next_worker_when_this_one_retires),
        DESCRIPTOR_TEST(a_connection_that_was_taken_back_is_left_alone),
        DESCRIPTOR_TEST(slots_follow_a_connection_from_request_to_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
