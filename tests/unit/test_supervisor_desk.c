/* desk: when it opens and closes, and who is kept there; one worker, whose page the test writes. */
#include "descriptors.h"
#include "serving.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/control.h"
#include "supervisor/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW (100 * CLOCK_SECOND)

static struct serving *serving; /* the listener and the queue; its server does not run */
static struct supervisor supervisor;
static struct worker worker;
static struct options options;

/* A worker that is ready and has been in the function since before the last tick. */
static int begin(void **state)
{
    if (descriptors_note(state) != 0 || worker_init(&worker, 0) != 0) {
        return -1;
    }
    serving = serving_make(0);
    options = (struct options){.read_timeout = CLOCK_SECOND};
    worker.state = WORKER_READY;
    worker.page->busy = worker.page->running = 1;
    worker.page->turns = worker.progress = 7;
    supervisor = (struct supervisor){.options = &options,
                                     .phase = PHASE_SERVING,
                                     .listener = serving->listener,
                                     .epoll = epoll_create1(EPOLL_CLOEXEC),
                                     .worker_count = 1,
                                     .workers = &worker,
                                     .queue_send = serving->queue,
                                     .queue_receive = serving->worker_queue,
                                     .alone_since = CLOCK_NEVER,
                                     .tick_at = NOW};
    (void)tick(&supervisor, NOW);
    (void)desk_tend(&supervisor, NOW);
    return 0;
}

static int end(void **state)
{
    while (supervisor.orphans.count > 0) {
        fd_close(&supervisor.orphans.fds[--supervisor.orphans.count]);
    }
    fd_close(&supervisor.epoll);
    serving_free(serving);
    (void)munmap(worker.page, sizeof *worker.page);
    return descriptors_check(state);
}

#define DESK_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

/* Closes what lies in the queue of the workers; returns how many it were. */
static int empty_queue(void)
{
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    int count = 0;
    while (control_receive(supervisor.queue_receive, &message, fds) == 1) {
        assert_int_equal(message.type, CONTROL_CONNECTION);
        assert_int_equal(message.count, 1);
        fd_close(&fds[0]);
        count++;
    }
    return count;
}

static int come(const char *message)
{
    int client = client_connect(serving);
    assert_true(client_send(client, message, strlen(message)));
    return client;
}

static void while_nobody_gets_on_it_takes_who_comes(void **state)
{
    (void)state;
    char reply[512];
    assert_true(supervisor.desk_open);
    int clients[] = {come("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), come("[1]"), come("")};
    desk_accept(&supervisor);
    assert_false(listener_is_waiting(&supervisor.listener));
    (void)desk_tend(&supervisor, NOW);
    assert_true(supervisor.desk_open);
    assert_true(client_read(clients[0], reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "200 OK"));
    assert_int_equal(empty_queue(), 1);            /* who has asked for something */
    assert_int_equal(supervisor.orphans.count, 1); /* who is silent may still ask for health */
    for (size_t i = 0; i < 3; i++) {
        close(clients[i]);
    }
}

/* More than the queue has room for: those who ask for health behind them are told of the worker, not of the queue. */
static void a_full_queue_is_not_a_want_of_workers(void **state)
{
    (void)state;
    enum { WAITING = 600 };
    static int clients[WAITING];
    char reply[512];
    for (size_t i = 0; i < WAITING; i++) {
        clients[i] = come("[1]");
        desk_accept(&supervisor);
        (void)desk_tend(&supervisor, NOW);
    }
    assert_in_range(supervisor.orphans.count, 1, WAITING - 1);
    int prober = come("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    desk_accept(&supervisor);
    (void)desk_tend(&supervisor, NOW);
    assert_true(client_read(prober, reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "200 OK"));
    int queued = WAITING - (int)supervisor.orphans.count;
    assert_int_equal(empty_queue(), queued);
    close(prober);
    for (size_t i = 0; i < WAITING; i++) {
        close(clients[i]);
    }
}

struct progress_row {
    const char *name;
    uint64_t turns;
    uint64_t requests;
};

static const struct progress_row progress_rows[] = {
    {"its loop has turned", 1, 0},
    {"it has begun a request", 0, 1},
};

static void once_a_worker_gets_on_it_takes_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof progress_rows / sizeof progress_rows[0]; i++) {
        supervisor.tick_at = NOW;
        (void)tick(&supervisor, NOW);
        (void)desk_tend(&supervisor, NOW);
        assert_true(supervisor.desk_open);
        worker.page->turns += progress_rows[i].turns;
        worker.page->requests += progress_rows[i].requests;
        int client = come("[1]");
        desk_accept(&supervisor);
        if (!listener_is_waiting(&supervisor.listener) || supervisor.desk_open) {
            fail_msg("%s: the desk takes a client", progress_rows[i].name);
        }
        (void)desk_tend(&supervisor, NOW);
        assert_false(supervisor.desk_open);
        int accepted = listener_accept(&supervisor.listener); /* as the worker would */
        assert_true(accepted >= 0);
        close(accepted);
        close(client);
        supervisor.tick_at = NOW;
        (void)tick(&supervisor, NOW); /* it has got on since the tick before: not yet */
        (void)desk_tend(&supervisor, NOW);
        assert_false(supervisor.desk_open);
    }
}

static void while_it_is_open_a_worker_is_to_say_that_it_gets_on(void **state)
{
    (void)state;
    assert_int_equal(worker.page->awaited, 1);
    desk_close(&supervisor);
    assert_int_equal(worker.page->awaited, 0);
}

static void once_a_worker_gets_on_it_hands_over_the_silent(void **state)
{
    (void)state;
    int client = come("");
    desk_accept(&supervisor);
    (void)desk_tend(&supervisor, NOW);
    assert_int_equal(empty_queue(), 0);
    worker.page->turns++;
    (void)desk_tend(&supervisor, NOW);
    assert_int_equal(empty_queue(), 1);
    assert_int_equal(supervisor.orphans.count, 0);
    close(client);
}

static void a_worker_that_is_about_to_end_does_not_count(void **state)
{
    (void)state;
    struct worker two[2] = {worker, worker};
    struct status_page *page = worker.page;
    assert_int_equal(worker_init(&two[1], 1), 0);
    two[1].state = WORKER_STOPPING;
    two[1].page->turns = 99;
    supervisor.workers = two;
    supervisor.worker_count = 2;
    assert_ptr_equal(two[0].page, page);
    int client = come("[1]");
    desk_accept(&supervisor);
    assert_false(listener_is_waiting(&supervisor.listener));
    close(client);
    (void)munmap(two[1].page, sizeof *two[1].page);
}

static void after_it_was_closed_it_takes_nobody(void **state)
{
    (void)state;
    desk_close(&supervisor);
    int client = come("[1]");
    desk_accept(&supervisor); /* an event of the same round */
    assert_true(listener_is_waiting(&supervisor.listener));
    close(client);
}

static void without_a_worker_it_opens_after_a_tick(void **state)
{
    (void)state;
    desk_close(&supervisor);
    worker.state = WORKER_DOWN;
    supervisor.all_busy = false;
    supervisor.alone_since = NOW;
    assert_true(desk_tend(&supervisor, NOW) <= NOW + 100 * CLOCK_MS);
    assert_false(supervisor.desk_open);
    (void)desk_tend(&supervisor, NOW + 100 * CLOCK_MS);
    assert_true(supervisor.desk_open);
    worker.page->turns++; /* what a dead worker's page says is of no interest */
    int client = come("[1]");
    desk_accept(&supervisor);
    assert_int_equal(supervisor.orphans.count, 1);
    assert_int_equal(empty_queue(), 0);
    close(client);
}

struct patience_row {
    const char *name;
    enum worker_state state;
    uint64_t spawn_at;
    uint64_t startup_timeout;
    const char *message; /* of the client */
    uint64_t waits;      /* at least so long, and no millisecond longer */
};

static const struct patience_row patience_rows[] = {
    {"a request waits for the back-off as long as it may take to arrive", WORKER_DOWN, CLOCK_NEVER, 0, "[1]",
     CLOCK_SECOND},
    {"for a load it waits longer", WORKER_STARTING, 0, 0, "[1]", 300 * CLOCK_SECOND},
    {"a load that is about to begin is one", WORKER_DOWN, NOW, 0, "[1]", 300 * CLOCK_SECOND},
    {"as long as a load may take", WORKER_STARTING, 0, 7 * CLOCK_SECOND, "[1]", 7 * CLOCK_SECOND},
    {"but not less than it may take to arrive", WORKER_STARTING, 0, CLOCK_MS, "[1]", CLOCK_SECOND},
    {"who says nothing does not", WORKER_STARTING, 0, 0, "", CLOCK_SECOND},
};

static void how_long_without_a_worker(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof patience_rows / sizeof patience_rows[0]; i++) {
        const struct patience_row *row = &patience_rows[i];
        supervisor.alone_since = NOW;
        worker.state = row->state;
        worker.spawn_at = row->spawn_at;
        options.startup_timeout = row->startup_timeout;
        int client = come(row->message);
        (void)desk_tend(&supervisor, NOW);
        desk_accept(&supervisor);
        assert_int_equal(supervisor.orphans.count, 1);
        supervisor.orphans.since[0] = NOW;
        (void)desk_tend(&supervisor, NOW + row->waits - 1);
        uint32_t before = supervisor.orphans.count;
        (void)desk_tend(&supervisor, NOW + row->waits);
        if (before != 1 || supervisor.orphans.count != 0) {
            fail_msg("%s: not so", row->name);
        }
        char reply[512];
        size_t size = client_read(client, reply, sizeof reply - 1);
        assert_true(size < sizeof reply);
        reply[size] = '\0';
        assert_string_equal(reply, "{\"error\":\"server_error\",\"message\":\"no worker was ready in time\"}");
        close(client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESK_TEST(how_long_without_a_worker),
        DESK_TEST(while_nobody_gets_on_it_takes_who_comes),
        DESK_TEST(a_full_queue_is_not_a_want_of_workers),
        DESK_TEST(once_a_worker_gets_on_it_takes_nobody),
        DESK_TEST(while_it_is_open_a_worker_is_to_say_that_it_gets_on),
        DESK_TEST(once_a_worker_gets_on_it_hands_over_the_silent),
        DESK_TEST(a_worker_that_is_about_to_end_does_not_count),
        DESK_TEST(after_it_was_closed_it_takes_nobody),
        DESK_TEST(without_a_worker_it_opens_after_a_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
