/* room: who gives way when places, descriptors or memory run out, in which order, and what the supervisor is told. */
#include "capture.h"
#include "descriptors.h"
#include "json_check.h"
#include "serving.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/conn.h"
#include "server/control.h"
#include "server/dispatch.h"
#include "server/room.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { REPLY_SIZE = 4096 };

#define OK(json) "{\"status\":\"ok\",\"result\":" json "}"

static const char health[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

static void assert_answered(int client, const char *expected)
{
    char reply[REPLY_SIZE];
    size_t size = caller_read(client, reply, sizeof reply);
    if (size != strlen(expected) || memcmp(reply, expected, size) != 0) {
        fail_msg("%s, not %s", reply, expected);
    }
    close(client);
}

/* The one reply of a client that gave way. */
static void assert_sent_away(int client)
{
    char reply[REPLY_SIZE];
    size_t size = caller_read(client, reply, sizeof reply);
    assert_true(size != (size_t)-1 && json_check(reply, size));
    assert_non_null(strstr(reply, "\"connection_error\""));
    assert_non_null(strstr(reply, "gives way"));
    close(client);
}

/* It stays open here: its number would be free for the worker. */
static void assert_closed(int client)
{
    char byte;
    ssize_t got = recv(client, &byte, 1, 0);
    if (got != 0) {
        fail_msg("%s", got < 0 ? strerror(errno) : "something was sent");
    }
}

/* Reads a response to a request for health on a connection that is kept. */
static void ask_health(int client)
{
    char reply[REPLY_SIZE] = "";
    assert_true(caller_send(client, health, sizeof health - 1));
    for (size_t size = 0; strstr(reply, "\"ready\"}") == NULL;) {
        ssize_t got = recv(client, reply + size, sizeof reply - 1 - size, 0);
        assert_true(got > 0);
        size += (size_t)got;
    }
}

/* ---- who and when, by a clock of the test's own -------------------------------------------------------------------
 */

/* What the worker looks like from inside: the exchange that is held names its host. */
struct view_inside {
    uint64_t after; /* ns since the newest connection came */
    struct conn *found;
    int client; /* sends `bytes` before the look, so that nobody has read them; -1: nobody */
    const char *bytes;
};

static void look_inside(struct serving *serving, void *argument)
{
    struct view_inside *view = argument;
    struct conn_host *host = serving->held[0].conn->host;
    uint64_t newest = 0;
    for (const struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = conn->next) {
        newest = conn->deadline > newest ? conn->deadline : newest;
    }
    if (view->client >= 0) {
        assert_true(caller_send(view->client, view->bytes, strlen(view->bytes)));
    }
    view->found = room_find(host, newest - host->config->read_timeout + view->after);
}

static struct conn *who_gives_way(struct serving *serving, uint64_t after, int client, const char *bytes)
{
    struct view_inside view = {.after = after, .client = client, .bytes = bytes};
    serving_do(serving, look_inside, &view);
    return view.found;
}

static void vacate(struct serving *serving, void *argument)
{
    (void)serving;
    dispatch_vacate(argument);
}

/* A worker that holds one request, which gives way to nobody. */
static struct serving *serve_held(int *client)
{
    struct serving *serving = serving_make(16);
    serving->config.concurrency = 4;
    serving_start(serving);
    *client = caller_connect(serving);
    assert_true(caller_send(*client, "\"later\"", 7));
    serving_await_held(serving, 1);
    return serving;
}

static void finish_held(struct serving *serving, int client)
{
    serving_complete(serving, 0);
    assert_answered(client, OK("\"later\""));
    assert_true(serving_stop(serving));
}

static void nobody_gives_way_who_has_a_request_or_has_just_come(void **state)
{
    (void)state;
    int held;
    struct serving *serving = serve_held(&held);
    assert_null(who_gives_way(serving, 100 * CLOCK_SECOND, -1, ""));
    int silent = caller_connect(serving);
    serving_await_slot(serving, 1, SLOT_WAITING);
    assert_null(who_gives_way(serving, 240 * CLOCK_MS, -1, ""));
    assert_non_null(who_gives_way(serving, 250 * CLOCK_MS, -1, ""));
    assert_true(caller_send(silent, "[1", 2));
    serving_await_slot(serving, 1, SLOT_READING);
    assert_null(who_gives_way(serving, 990 * CLOCK_MS, -1, ""));
    assert_non_null(who_gives_way(serving, 1000 * CLOCK_MS, -1, ""));
    assert_true(caller_send(silent, "]", 1));
    assert_answered(silent, OK("[1]"));
    finish_held(serving, held);
}

static void the_idle_go_first_then_the_silent_then_the_slow_each_the_oldest(void **state)
{
    (void)state;
    int held;
    int clients[2][3]; /* slow, silent, idle: the youngest class came last */
    capture_begin();
    struct serving *serving = serve_held(&held);
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t class = 0; class < 3; class ++) {
            clients[i][class] = caller_connect(serving);
            serving_await_slot(serving, 1 + 3 * i + class, SLOT_WAITING);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(caller_send(clients[i][0], "[1", 2));
        ask_health(clients[i][2]);
        serving_await_slot(serving, 1 + 3 * i, SLOT_READING);
    }
    for (uint32_t class = 3; class -- > 0;) {
        for (uint32_t i = 0; i < 2; i++) {
            struct conn *conn = who_gives_way(serving, 3 * CLOCK_SECOND, -1, "");
            assert_non_null(conn);
            serving_do(serving, vacate, conn);
            if (class == 2) {
                assert_closed(clients[i][class]);
                close(clients[i][class]);
            } else {
                assert_sent_away(clients[i][class]);
            }
        }
    }
    assert_null(who_gives_way(serving, 3 * CLOCK_SECOND, -1, ""));
    (void)capture_end();
    finish_held(serving, held);
}

/* The request may be whole: the next round of the loop reads it. */
static void who_has_sent_what_nobody_has_read_does_not_give_way(void **state)
{
    (void)state;
    int held;
    struct serving *serving = serve_held(&held);
    int idle = caller_connect(serving);
    ask_health(idle);
    assert_null(who_gives_way(serving, 5 * CLOCK_SECOND, idle, health));
    close(idle);
    serving_await_slot(serving, 1, SLOT_FREE);
    int silent = caller_connect(serving);
    serving_await_slot(serving, 1, SLOT_WAITING);
    assert_null(who_gives_way(serving, 5 * CLOCK_SECOND, silent, "[1]"));
    assert_answered(silent, OK("[1]"));
    serving_await_slot(serving, 1, SLOT_FREE);
    int slow = caller_connect(serving);
    assert_true(caller_send(slow, "[1", 2));
    serving_await_slot(serving, 1, SLOT_READING);
    assert_null(who_gives_way(serving, 1990 * CLOCK_MS, slow, ",2"));
    assert_non_null(who_gives_way(serving, 2000 * CLOCK_MS, slow, ",3")); /* a byte now and then keeps no place */
    assert_true(caller_send(slow, "]", 1));
    assert_answered(slow, OK("[1,2,3]"));
    finish_held(serving, held);
}

/* ---- descriptors --------------------------------------------------------------------------------------------------
 */

/* The next message of the worker of this type, within five seconds; others are dropped. */
static void hear(const struct serving *serving, enum control_type type)
{
    struct control_message message = {0};
    int fds[CONTROL_FDS_MAX];
    while (message.type != (uint32_t)type) {
        struct pollfd look = {.fd = serving->control, .events = POLLIN};
        assert_int_equal(poll(&look, 1, 5000), 1);
        assert_int_equal(control_receive(serving->control, &message, fds), 1);
        assert_int_equal(message.count, 0);
    }
}

static void await_full(const struct serving *serving, enum fullness wanted)
{
    for (int i = 0; i < 5000 && atomic_load(&serving->board.full) != (uint32_t)wanted; i++) {
        usleep(1000);
    }
    assert_int_equal(atomic_load(&serving->board.full), wanted);
}

static void without_descriptors_the_idle_give_way_at_once(void **state)
{
    (void)state;
    enum { NEW = 2 };
    struct serving *serving = serving_make(16);
    int fresh[NEW] = {caller_make(), caller_make()};
    int idle[NEW] = {caller_connect(serving), caller_connect(serving)};
    serving_start(serving);
    for (int i = 0; i < NEW; i++) {
        ask_health(idle[i]);
    }
    descriptors_limit(0);
    for (int i = 0; i < NEW; i++) {
        caller_dial(serving, fresh[i]);
        assert_true(caller_send(fresh[i], "[1", 2)); /* it keeps its descriptor */
        assert_closed(idle[i]);
    }
    descriptors_allow();
    assert_int_equal(atomic_load(&serving->board.full), FULL_NOT);
    for (int i = 0; i < NEW; i++) {
        assert_true(caller_send(fresh[i], "]", 1));
        assert_answered(fresh[i], OK("[1]"));
        close(idle[i]);
    }
    assert_true(serving_stop(serving));
}

static void without_descriptors_the_slow_give_way_after_a_while_and_it_is_full_until_then(void **state)
{
    (void)state;
    capture_begin();
    struct serving *serving = serving_make(16);
    int fresh = caller_make();
    int slow = caller_connect(serving);
    serving_start(serving);
    uint64_t start = clock_now();
    assert_true(caller_send(slow, "[1", 2));
    serving_await_slot(serving, 0, SLOT_READING);
    descriptors_limit(0);
    caller_dial(serving, fresh);
    assert_true(caller_send(fresh, "[2]", 3));
    await_full(serving, FULL_FOR_NOW);
    hear(serving, CONTROL_WATCH);
    char reply[REPLY_SIZE];
    assert_int_equal(caller_read(fresh, reply, sizeof reply), strlen(OK("[2]")));
    descriptors_allow();
    close(fresh);
    assert_true(clock_now() - start >= 990 * CLOCK_MS);
    assert_sent_away(slow);
    assert_int_equal(atomic_load(&serving->board.full), FULL_NOT);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* The kernel refuses a number before it looks whether anybody is there. */
static void nobody_gives_way_to_nobody(void **state)
{
    (void)state;
    struct serving *serving = serving_make(16);
    serving->config.alone = true; /* it looks at once how many wait */
    int fresh = caller_make();
    int idle = caller_connect(serving);
    serving_start(serving);
    ask_health(idle);
    descriptors_limit(1);
    caller_dial(serving, fresh);
    assert_true(caller_send(fresh, "[2]", 3));
    char reply[REPLY_SIZE];
    assert_int_equal(caller_read(fresh, reply, sizeof reply), strlen(OK("[2]")));
    ask_health(idle);
    descriptors_allow();
    close(fresh);
    close(idle);
    assert_true(serving_stop(serving));
}

/* Takes all descriptors, as a function that leaks them does. */
static int fill(int *fillers, int room)
{
    int filled = 0;
    while (filled < room && (fillers[filled] = dup(STDERR_FILENO)) >= 0) {
        filled++;
    }
    return filled;
}

static void a_worker_whose_function_holds_the_descriptors_says_so(void **state)
{
    (void)state;
    int fillers[256];
    capture_begin();
    struct serving *serving = serving_make(16);
    int fresh = caller_make();
    descriptors_limit(100);
    serving_start(serving);
    assert_int_equal(caller_exchange(serving, "[1]", true, (char[64]){0}, 64), strlen(OK("[1]"))); /* it is up */
    serving_await_slot(serving, 0, SLOT_FREE);
    int filled = fill(fillers, 256);
    caller_dial(serving, fresh);
    assert_true(caller_send(fresh, "[2]", 3));
    await_full(serving, FULL_FOR_NOW);
    hear(serving, CONTROL_STARVED);
    await_full(serving, FULL_STARVED);
    while (filled > 0) {
        close(fillers[--filled]);
    }
    assert_answered(fresh, OK("[2]"));
    await_full(serving, FULL_NOT);
    descriptors_allow();
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void a_worker_whose_clients_hold_the_descriptors_does_not(void **state)
{
    (void)state;
    enum { CLIENTS = 12 };
    int clients[CLIENTS];
    capture_begin();
    struct serving *serving = serving_make(16);
    serving->config.concurrency = CLIENTS;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = caller_make();
    }
    descriptors_limit(CLIENTS + 1); /* epoll and eventfd take two */
    serving_start(serving);
    for (int i = 0; i < CLIENTS; i++) {
        caller_dial(serving, clients[i]);
        assert_true(caller_send(clients[i], "\"later\"", 7));
    }
    serving_await_held(serving, CLIENTS - 1);
    await_full(serving, FULL_FOR_NOW);
    struct control_message message = {0};
    int fds[CONTROL_FDS_MAX];
    for (uint64_t end = clock_now() + 1300 * CLOCK_MS; clock_now() < end; usleep(10000)) {
        int status = control_receive(serving->control, &message, fds);
        assert_true(status == -EAGAIN || message.type != CONTROL_STARVED);
    }
    assert_int_equal(atomic_load(&serving->board.full), FULL_FOR_NOW);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        serving_await_held(serving, i + 1);
        serving_complete(serving, i);
    }
    descriptors_allow();
    for (int i = 0; i < CLIENTS; i++) {
        assert_answered(clients[i], OK("\"later\""));
    }
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* The function has closed the log's descriptor, the connection gets its number, and there is none above to move it to:
 * one reply, and no line of the log in it. */
static void who_cannot_be_moved_above_the_standard_descriptors_gets_one_reply(void **state)
{
    (void)state;
    struct serving *serving = serving_make(16);
    serving_start(serving);
    assert_int_equal(caller_exchange(serving, "[1]", true, (char[64]){0}, 64), strlen(OK("[1]"))); /* it is up */
    serving_await_slot(serving, 0, SLOT_FREE);
    int fresh = caller_make();
    int log = dup(STDERR_FILENO);
    descriptors_limit(0);
    close(STDERR_FILENO);
    caller_dial(serving, fresh);
    assert_true(caller_send(fresh, "[2]", 3));
    char reply[REPLY_SIZE];
    size_t size = caller_read(fresh, reply, sizeof reply);
    usleep(20000); /* for the line of the log, which goes nowhere */
    (void)dup2(log, STDERR_FILENO);
    descriptors_allow();
    close(log);
    close(fresh);
    assert_true(size != (size_t)-1 && json_check(reply, size));
    assert_non_null(strstr(reply, "\"out_of_memory\""));
    assert_true(serving_stop(serving));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(nobody_gives_way_who_has_a_request_or_has_just_come),
        DESCRIPTOR_TEST(the_idle_go_first_then_the_silent_then_the_slow_each_the_oldest),
        DESCRIPTOR_TEST(who_has_sent_what_nobody_has_read_does_not_give_way),
        DESCRIPTOR_TEST(without_descriptors_the_idle_give_way_at_once),
        DESCRIPTOR_TEST(without_descriptors_the_slow_give_way_after_a_while_and_it_is_full_until_then),
        DESCRIPTOR_TEST(nobody_gives_way_to_nobody),
        DESCRIPTOR_TEST(who_cannot_be_moved_above_the_standard_descriptors_gets_one_reply),
        DESCRIPTOR_TEST(a_worker_whose_function_holds_the_descriptors_says_so),
        DESCRIPTOR_TEST(a_worker_whose_clients_hold_the_descriptors_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
