/* budget: large requests pause beyond it, small ones do not, the oldest goes on, and nobody keeps the others out. */
#include "capture.h"
#include "descriptors.h"
#include "json_check.h"
#include "serving.h"

#include "base/clock.h"
#include "server/budget.h"
#include "server/conn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    MESSAGE = 1 << 20, /* the largest, as serving_make has it */
    LARGE = MESSAGE - 1000,
    BUDGET = 2 * INTAKE_LIMIT(MESSAGE),
    REPLY_SIZE = MESSAGE + 4096,
};

#define OK(json) "{\"status\":\"ok\",\"result\":" json "}"

static char text[LARGE];
static char reply[REPLY_SIZE];

/* A worker with a budget of two messages; `running` is a request it holds, so that `concurrency` - 1 more can run. */
static struct serving *serve(uint32_t concurrency, int *running)
{
    memset(text, 'x', sizeof text);
    text[0] = '"';
    struct serving *serving = serving_make(64);
    serving->config.max_buffered = BUDGET;
    serving->config.alone = true; /* it takes connections while it is busy */
    serving->config.concurrency = concurrency;
    serving_start(serving);
    *running = caller_connect(serving);
    assert_true(caller_send(*running, "\"later\"", 7));
    serving_await_held(serving, 1);
    return serving;
}

static void finish(struct serving *serving, int running)
{
    serving_complete(serving, 0);
    assert_int_equal(caller_read(running, reply, sizeof reply), strlen(OK("\"later\"")));
    close(running);
    assert_true(serving_stop(serving));
}

/* What the worker holds, seen from inside. */
struct view_inside {
    size_t held;
    uint32_t paused;
    size_t most; /* `held` has been, whenever it was looked */
};

static void look_inside(struct serving *serving, void *argument)
{
    struct view_inside *view = argument;
    const struct conn_host *host = serving->held[0].conn->host;
    size_t sum = 0;
    for (int state = 0; state < CONN_STATES; state++) {
        for (const struct conn *conn = host->lists[state].first; conn != NULL; conn = conn->next) {
            sum += conn->in.capacity + conn->out.capacity;
        }
    }
    assert_int_equal(host->held, sum);
    view->held = host->held;
    view->paused = host->paused;
    view->most = view->most > view->held ? view->most : view->held;
}

static void await_paused(struct serving *serving, struct view_inside *view, uint32_t wanted)
{
    for (int i = 0; i < 5000; i++) {
        serving_do(serving, look_inside, view);
        if (view->paused == wanted) {
            return;
        }
        usleep(1000);
    }
    assert_int_equal(view->paused, wanted);
}

/* Sends without waiting; returns how much the kernel and the worker have taken. */
static size_t push(int client, const char *bytes, size_t size)
{
    size_t sent = 0;
    for (int quiet = 0; sent < size && quiet < 50;) {
        ssize_t got = send(client, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (got > 0) {
            sent += (size_t)got;
            quiet = 0;
        } else {
            assert_int_equal(errno, EAGAIN);
            quiet++;
            usleep(2000);
        }
    }
    return sent;
}

/* Clients that have sent as much of a large request as is taken, one after the other; `sent` of each. */
static void begin(const struct serving *serving, int *clients, size_t *sent, int count)
{
    for (int i = 0; i < count; i++) {
        clients[i] = caller_connect(serving);
        sent[i] = push(clients[i], text, sizeof text);
    }
}

/* The rest of its request, and the reply to it. */
static void complete(int client, size_t sent)
{
    assert_true(caller_send(client, text + sent, sizeof text - sent));
    assert_true(caller_send(client, "\"", 1));
    size_t size = caller_read(client, reply, sizeof reply);
    assert_int_equal(size, sizeof text + 1 + strlen(OK("")));
    close(client);
}

static void assert_error(int client, const char *category, const char *word)
{
    size_t size = caller_read(client, reply, sizeof reply);
    assert_true(size != (size_t)-1 && json_check(reply, size));
    assert_non_null(strstr(reply, category));
    assert_non_null(strstr(reply, word));
    close(client);
}

static void beyond_the_budget_large_requests_pause_and_each_is_answered_in_its_turn(void **state)
{
    (void)state;
    enum { CLIENTS = 6 };
    int clients[CLIENTS];
    size_t sent[CLIENTS];
    int running;
    struct view_inside view = {0};
    struct serving *serving = serve(2, &running);
    begin(serving, clients, sent, CLIENTS);
    serving_do(serving, look_inside, &view);
    assert_in_range(view.paused, 2, CLIENTS - 1);
    int small = caller_connect(serving); /* in two pieces: it needs a buffer of its own */
    assert_true(caller_send(small, "[1", 2));
    usleep(20000);
    assert_true(caller_send(small, "]", 1));
    assert_int_equal(caller_read(small, reply, sizeof reply), strlen(OK("[1]")));
    close(small);
    for (int i = 0; i < CLIENTS; i++) {
        complete(clients[i], sent[i]);
        serving_do(serving, look_inside, &view);
    }
    assert_true(view.most <= BUDGET + INTAKE_LIMIT(MESSAGE));
    assert_int_equal(view.paused, 0);
    finish(serving, running);
}

static void what_a_client_that_leaves_has_sent_is_given_back(void **state)
{
    (void)state;
    enum { CLIENTS = 5 };
    int clients[CLIENTS];
    size_t sent[CLIENTS];
    int running;
    struct view_inside view = {0};
    capture_begin();
    struct serving *serving = serve(2, &running);
    begin(serving, clients, sent, CLIENTS);
    serving_do(serving, look_inside, &view);
    assert_true(view.paused > 0);
    close(clients[CLIENTS - 1]); /* paused, so that nobody reads of it */
    await_paused(serving, &view, view.paused - 1);
    for (int i = 0; i + 2 < CLIENTS; i++) {
        close(clients[i]);
    }
    await_paused(serving, &view, 0);
    complete(clients[CLIENTS - 2], sent[CLIENTS - 2]);
    finish(serving, running);
    (void)capture_end();
}

static void who_holds_much_and_does_not_go_on_gives_way_to_who_waits(void **state)
{
    (void)state;
    enum { CLIENTS = 4 };
    int clients[CLIENTS];
    size_t sent[CLIENTS];
    int running;
    capture_begin();
    struct serving *serving = serve(2, &running);
    uint64_t start = clock_now();
    begin(serving, clients, sent, CLIENTS);
    complete(clients[CLIENTS - 1], sent[CLIENTS - 1]); /* the others never finish */
    assert_in_range(clock_now() - start, CLOCK_SECOND / 2, 9 * CLOCK_SECOND);
    assert_error(clients[0], "\"connection_error\"", "ASYA_MAX_BUFFERED");
    for (int i = 1; i < CLIENTS - 1; i++) {
        close(clients[i]);
    }
    finish(serving, running);
    (void)capture_end();
}

/* What waits for the service counts; the oldest that is being read goes on beside it. */
static void who_is_paused_when_its_time_ends_is_told_that_it_was_for_want_of_memory(void **state)
{
    (void)state;
    enum { QUEUED = 2 };
    int queued[QUEUED];
    int late[2];
    size_t sent[2];
    int running;
    capture_begin();
    memset(text, 'x', sizeof text);
    struct serving *serving = serving_make(64);
    serving->config.max_buffered = BUDGET;
    serving->config.alone = true; /* it takes connections while it is busy */
    serving->config.read_timeout = 700 * CLOCK_MS;
    serving_start(serving);
    running = caller_connect(serving);
    assert_true(caller_send(running, "\"later\"", 7));
    serving_await_held(serving, 1);
    text[0] = '"';
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = caller_connect(serving);
        assert_true(caller_send(queued[i], text, sizeof text));
        assert_true(caller_send(queued[i], "\"", 1));
    }
    begin(serving, late, sent, 2);
    assert_error(late[0], "\"connection_error\"", "ASYA_READ_TIMEOUT");
    assert_error(late[1], "\"server_error\"", "ASYA_MAX_BUFFERED");
    serving_complete(serving, 0);
    assert_int_equal(caller_read(running, reply, sizeof reply), strlen(OK("\"later\"")));
    close(running);
    for (int i = 0; i < QUEUED; i++) {
        assert_int_equal(caller_read(queued[i], reply, sizeof reply), sizeof text + 1 + strlen(OK("")));
        close(queued[i]);
    }
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* A service that answers between the turns of the loop gives back there. */
static void who_is_paused_goes_on_when_the_queue_is_worked_off(void **state)
{
    (void)state;
    enum { QUEUED = 2 };
    int queued[QUEUED];
    int late[2];
    size_t sent[2];
    int running;
    struct view_inside view = {0};
    struct serving *serving = serve(1, &running);
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = caller_connect(serving);
        assert_true(caller_send(queued[i], text, sizeof text));
        assert_true(caller_send(queued[i], "\"", 1));
    }
    begin(serving, late, sent, 2);
    await_paused(serving, &view, 1);
    serving_complete(serving, 0);
    assert_int_equal(caller_read(running, reply, sizeof reply), strlen(OK("\"later\"")));
    close(running);
    for (int i = 0; i < QUEUED; i++) {
        assert_int_equal(caller_read(queued[i], reply, sizeof reply), sizeof text + 1 + strlen(OK("")));
        close(queued[i]);
    }
    complete(late[1], sent[1]);
    complete(late[0], sent[0]);
    assert_true(serving_stop(serving));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(beyond_the_budget_large_requests_pause_and_each_is_answered_in_its_turn),
        DESCRIPTOR_TEST(what_a_client_that_leaves_has_sent_is_given_back),
        DESCRIPTOR_TEST(who_holds_much_and_does_not_go_on_gives_way_to_who_waits),
        DESCRIPTOR_TEST(who_is_paused_when_its_time_ends_is_told_that_it_was_for_want_of_memory),
        DESCRIPTOR_TEST(who_is_paused_goes_on_when_the_queue_is_worked_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
