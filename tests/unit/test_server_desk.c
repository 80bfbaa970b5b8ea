/*
 * desk: HTTP for those who look after the runtime. Each request gets its reply, what is none is refused, and a client
 * that is slow, silent or gone costs a place for a while and nothing else.
 */
#include "descriptors.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/desk.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT_SIZE = 65536 };

static struct desk desk;
static int door;
static struct sockaddr_un name;
static socklen_t name_size;
static unsigned asked;            /* requests that answer() has seen */
static struct desk_ticket ticket; /* of the last one */
static size_t reply_size;         /* bytes of x in each reply */
static char text[TEXT_SIZE];      /* what a client got last */

/* Replies with the method, path and body that it was given; /later gets its reply later. */
static bool answer(void *context, const struct desk_request *request, struct desk_reply *reply)
{
    char line[256];
    (void)context;
    asked++;
    ticket = request->ticket;
    if (view_is(request->path, "/later")) {
        return false;
    }
    int size = snprintf(line, sizeof line, "%d %.*s %.*s", (int)request->method, (int)request->path.size,
                        request->path.data, (int)request->body.size, request->body.data);
    assert_int_equal(buffer_append(&reply->body, line, (size_t)size), BUFFER_OK);
    for (size_t i = 0; i < reply_size; i++) {
        assert_int_equal(buffer_append(&reply->body, "x", 1), BUFFER_OK);
    }
    reply->type = "text/plain";
    return true;
}

static int begin(void **state)
{
    int status = descriptors_note(state);
    memset(&desk, 0, sizeof desk);
    desk_init(&desk);
    assert_int_equal(desk_open(&desk), 0);
    desk.answer = answer;
    door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    name = (struct sockaddr_un){.sun_family = AF_UNIX};
    assert_int_equal(bind(door, (const struct sockaddr *)&name, sizeof name.sun_family), 0); /* a name of its own */
    name_size = sizeof name;
    assert_int_equal(getsockname(door, (struct sockaddr *)&name, &name_size), 0);
    assert_int_equal(listen(door, 64), 0);
    assert_int_equal(desk_set_door(&desk, DESK_CONTROL, door), 0);
    asked = 0;
    reply_size = 0;
    return status;
}

static int end(void **state)
{
    desk_close(&desk);
    desk_close(&desk);
    fd_close(&door);
    return descriptors_check(state);
}

#define DESK_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

static int visit(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&name, name_size), 0);
    return fd;
}

static void say(int fd, const char *bytes)
{
    assert_int_equal(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

/* Lets the desk do what there is to do. */
static void turn(void)
{
    for (int i = 0; i < 4; i++) {
        desk_turn(&desk);
    }
}

/* What the client has got so far; "" if nothing. */
static const char *hear(int fd)
{
    ssize_t got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[got > 0 ? got : 0] = '\0';
    return text;
}

static bool is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static const char *ask(const char *request)
{
    FD_SCOPED int fd = visit();
    say(fd, request);
    turn();
    return hear(fd);
}

static unsigned taken(void)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < DESK_CLIENTS; i++) {
        count += desk.clients[i].state != DESK_FREE;
    }
    return count;
}

static void each_request_gets_its_reply(void **state)
{
    (void)state;
    FD_SCOPED int fd = visit();
    say(fd, "GET /status?pretty HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    assert_string_equal(hear(fd),
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n1 /status ");
    say(fd, "POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo");
    turn();
    assert_string_equal(hear(fd), "");
    say(fd, "dy");
    turn();
    assert_non_null(strstr(hear(fd), "\r\n\r\n3 /drain body"));
    say(fd, "HEAD /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    turn();
    assert_string_equal(hear(fd), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n"
                                  "Connection: close\r\n\r\n");
    assert_true(is_closed(fd));
    assert_int_equal(asked, 3);
}

static void requests_in_a_row_are_answered_in_order(void **state)
{
    (void)state;
    FD_SCOPED int fd = visit();
    say(fd, "GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /three HTTP/1.1\r\nHost: "
            "x\r\n\r\n");
    turn();
    assert_non_null(strstr(hear(fd), "1 /one "));
    assert_null(strstr(text, "/three"));
    struct desk_reply reply = {.status = 503, .body = buffer_make(16)};
    assert_int_equal(buffer_append(&reply.body, "two", 3), BUFFER_OK);
    assert_true(desk_is_waiting(&desk, ticket));
    desk_reply(&desk, ticket, &reply);
    assert_non_null(strstr(hear(fd), "503 Service Unavailable"));
    assert_non_null(strstr(text, "\r\n\r\ntwoHTTP/1.1 200 OK"));
    assert_non_null(strstr(text, "1 /three "));
}

static void byte_by_byte_it_is_the_same(void **state)
{
    (void)state;
    static const char request[] = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok";
    FD_SCOPED int fd = visit();
    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        desk_turn(&desk);
        desk_turn(&desk);
    }
    assert_non_null(strstr(hear(fd), "3 /a ok"));
}

static void a_body_that_waits_to_be_invited_is(void **state)
{
    (void)state;
    FD_SCOPED int fd = visit();
    say(fd, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    turn();
    assert_string_equal(hear(fd), "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "o");
    turn();
    say(fd, "k");
    turn();
    assert_memory_equal(hear(fd), "HTTP/1.1 200", 12);
}

static const struct {
    const char *request;
    const char *status;
    const char *reason;
} refused[] = {
    {"hello\r\n\r\n", "400", "bad_request"},
    {"{\"a\": 1}\r\n", "400", "bad_request"},
    {"GET / HTTP/2.0\r\n\r\n", "505", "bad_request"},
    {"GET /\r\n", "400", "bad_request"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n", "413", "bad_request"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", "Content-Length"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "400", "is not 'chunked'"},
};

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        FD_SCOPED int fd = visit();
        say(fd, refused[i].request);
        turn();
        (void)hear(fd);
        if (strncmp(text + strlen("HTTP/1.1 "), refused[i].status, 3) != 0 || strstr(text, refused[i].reason) == NULL) {
            fail_msg("%s: %s", refused[i].request, text);
        }
        assert_true(is_closed(fd));
    }
    char large[DESK_REQUEST_SIZE + 200];
    int size = snprintf(large, sizeof large, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
    memset(large + size, 'x', sizeof large - (size_t)size - 1);
    large[sizeof large - 1] = '\0';
    assert_non_null(strstr(ask(large), "larger than 8192 bytes"));
    turn();
    assert_int_equal(asked, 0);
    assert_int_equal(taken(), 0);
}

static void a_refused_client_can_send_the_rest_and_read_why(void **state)
{
    (void)state;
    FD_SCOPED int fd = visit();
    say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n");
    turn();
    for (int i = 0; i < 20; i++) {
        say(fd, "more of the body, which nobody reads");
        turn();
    }
    assert_memory_equal(hear(fd), "HTTP/1.1 413", 12);
    assert_int_equal(taken(), 1);
    (void)desk_tend(&desk, clock_now() + DESK_DRAIN_TIME + CLOCK_SECOND);
    assert_int_equal(taken(), 0);
}

static void a_client_that_left_gets_no_late_reply(void **state)
{
    (void)state;
    int fd = visit();
    say(fd, "POST /later HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    struct desk_ticket left = ticket;
    assert_true(desk_is_waiting(&desk, left));
    fd_close(&fd);
    turn();
    assert_false(desk_is_waiting(&desk, left));
    fd = visit(); /* has the place now, and not the reply */
    say(fd, "POST /later HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    struct desk_reply reply = {.status = 200, .body = buffer_make(16)};
    assert_int_equal(buffer_append(&reply.body, "secret", 6), BUFFER_OK);
    desk_reply(&desk, left, &reply);
    assert_int_equal(reply.body.size, 0);
    assert_string_equal(hear(fd), "");
    fd_close(&fd);
    turn();
}

static void the_oldest_idle_client_gives_way_first(void **state)
{
    (void)state;
    int fds[DESK_CLIENTS];
    for (int i = 0; i < DESK_CLIENTS; i++) {
        fds[i] = visit();
        if (i == 0) {
            say(fds[i], "GET / HT"); /* slow, but not idle */
        }
        turn();
    }
    assert_int_equal(taken(), DESK_CLIENTS);
    assert_non_null(strstr(ask("GET /one HTTP/1.1\r\nHost: x\r\n\r\n"), "1 /one"));
    assert_true(is_closed(fds[1]));
    say(fds[0], "TP/1.1\r\nHost: x\r\n\r\n");
    turn();
    assert_non_null(strstr(hear(fds[0]), "1 / "));
    for (int i = 0; i < DESK_CLIENTS; i++) {
        fd_close(&fds[i]);
    }
    turn();
    assert_int_equal(taken(), 0);
}

static void slow_clients_keep_nobody_out(void **state)
{
    (void)state;
    int fds[64];
    for (int i = 0; i < 64; i++) {
        fds[i] = visit();
        say(fds[i], "GET / HTTP/1.1\r\nHo");
        turn();
        assert_non_null(strstr(ask("GET /one HTTP/1.1\r\nHost: x\r\n\r\n"), "1 /one"));
    }
    for (int i = 0; i < 64; i++) {
        fd_close(&fds[i]);
    }
    turn();
    assert_int_equal(taken(), 0);
}

static void replies_that_are_to_come_keep_their_places(void **state)
{
    (void)state;
    int fds[DESK_CLIENTS];
    for (int i = 0; i < DESK_CLIENTS; i++) {
        fds[i] = visit();
        say(fds[i], "POST /later HTTP/1.1\r\nHost: x\r\n\r\n");
        turn();
    }
    FD_SCOPED int late = visit();
    turn();
    assert_true(is_closed(late));
    for (int i = 0; i < DESK_CLIENTS; i++) {
        assert_false(is_closed(fds[i]));
        fd_close(&fds[i]);
    }
    turn();
}

static void each_state_has_its_deadline(void **state)
{
    (void)state;
    uint64_t now = clock_now();
    FD_SCOPED int silent = visit();
    FD_SCOPED int kept = visit();
    turn();
    say(kept, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    (void)hear(kept);
    assert_in_range(desk_tend(&desk, now), now + DESK_READ_TIME, now + DESK_READ_TIME + CLOCK_SECOND);
    (void)desk_tend(&desk, now + DESK_READ_TIME + CLOCK_SECOND);
    assert_true(is_closed(silent));
    assert_int_equal(taken(), 1);
    assert_in_range(desk_tend(&desk, now), now + DESK_IDLE_TIME, now + DESK_IDLE_TIME + CLOCK_SECOND);
    assert_int_equal(desk_tend(&desk, now + DESK_IDLE_TIME + CLOCK_SECOND), CLOCK_NEVER);
    assert_true(is_closed(kept));
}

static void a_client_that_does_not_read_its_reply_loses_it(void **state)
{
    (void)state;
    reply_size = 1 << 20;
    uint64_t now = clock_now();
    FD_SCOPED int fd = visit();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    assert_int_equal(taken(), 1);
    assert_in_range(desk_tend(&desk, now), now + DESK_WRITE_TIME, now + DESK_WRITE_TIME + CLOCK_SECOND);
    (void)desk_tend(&desk, now + DESK_WRITE_TIME + CLOCK_SECOND);
    assert_int_equal(taken(), 0);
    assert_null(desk.clients[0].out.data);
}

static void a_client_that_reads_slowly_gets_all(void **state)
{
    (void)state;
    reply_size = 1 << 20;
    FD_SCOPED int fd = visit();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    size_t total = 0;
    for (int i = 0; i < 10000 && !is_closed(fd); i++) {
        turn();
        ssize_t got = recv(fd, text, sizeof text, MSG_DONTWAIT);
        total += got > 0 ? (size_t)got + 1 : 0; /* and the byte that is_closed() took */
    }
    assert_in_range(total, (1 << 20) + 64, (1 << 20) + 256);
}

/* The listening socket stays readable: without a pause the loop would spin. */
static void without_descriptors_it_waits_a_moment(void **state)
{
    (void)state;
    struct rlimit limit;
    FD_SCOPED int fd = visit();
    FD_SCOPED int look = dup(0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = (rlim_t)look + 1, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    uint64_t now = clock_now();
    struct pollfd event = {.fd = desk.epoll, .events = POLLIN};
    assert_int_equal(poll(&event, 1, 0), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_in_range(desk_tend(&desk, now), now, now + 100 * CLOCK_MS);
    assert_int_equal(desk_tend(&desk, now + 100 * CLOCK_MS), CLOCK_NEVER);
    turn();
    assert_non_null(strstr(hear(fd), "1 / "));
}

static void too_many_requests_at_once_end_the_connection(void **state)
{
    (void)state;
    FD_SCOPED int fd = visit();
    for (int i = 0; i < 100; i++) {
        say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    turn();
    assert_in_range(asked, 1, 99);
    assert_int_equal(taken(), 0);
}

static void a_worker_forgets_the_desk_and_ends_nobody(void **state)
{
    (void)state;
    FD_SCOPED int fd = visit();
    turn();
    struct desk worker = desk;
    worker.epoll = dup(desk.epoll);
    for (uint32_t i = 0; i < DESK_CLIENTS; i++) {
        worker.clients[i].fd = desk.clients[i].fd >= 0 ? dup(desk.clients[i].fd) : -1;
    }
    desk_forget(&worker);
    assert_int_equal(worker.epoll, -1);
    say(fd, "GET /one HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    assert_non_null(strstr(hear(fd), "1 /one"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESK_TEST(each_request_gets_its_reply),
        DESK_TEST(requests_in_a_row_are_answered_in_order),
        DESK_TEST(byte_by_byte_it_is_the_same),
        DESK_TEST(a_body_that_waits_to_be_invited_is),
        DESK_TEST(what_is_no_request_is_refused),
        DESK_TEST(a_refused_client_can_send_the_rest_and_read_why),
        DESK_TEST(a_client_that_left_gets_no_late_reply),
        DESK_TEST(the_oldest_idle_client_gives_way_first),
        DESK_TEST(slow_clients_keep_nobody_out),
        DESK_TEST(replies_that_are_to_come_keep_their_places),
        DESK_TEST(each_state_has_its_deadline),
        DESK_TEST(a_client_that_does_not_read_its_reply_loses_it),
        DESK_TEST(a_client_that_reads_slowly_gets_all),
        DESK_TEST(without_descriptors_it_waits_a_moment),
        DESK_TEST(too_many_requests_at_once_end_the_connection),
        DESK_TEST(a_worker_forgets_the_desk_and_ends_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
