/* fallback: when it opens and closes, and whom it keeps; one worker, whose scoreboard the test writes. */
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
    options =
        (struct options){.read_timeout = CLOCK_SECOND, .keepalive_timeout = 4 * CLOCK_SECOND, .max_message_size = 1000};
    worker.state = WORKER_READY;
    worker.board->busy = worker.board->running = 1;
    worker.board->turns = worker.progress = 7;
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
    (void)fallback_tend(&supervisor, NOW);
    return 0;
}

static int end(void **state)
{
    while (supervisor.orphans.count > 0) {
        fd_close(&supervisor.orphans.fds[--supervisor.orphans.count]);
    }
    fd_close(&supervisor.epoll);
    serving_free(serving);
    worker_drop_board(&worker);
    return descriptors_check(state);
}

#define FALLBACK_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

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
    int client = caller_connect(serving);
    assert_true(caller_send(client, message, strlen(message)));
    return client;
}

static void while_nobody_gets_on_it_takes_who_comes(void **state)
{
    (void)state;
    char reply[512];
    assert_true(supervisor.fallback_open);
    int clients[] = {come("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), come("[1]"), come("")};
    fallback_accept(&supervisor);
    assert_false(listener_is_waiting(&supervisor.listener));
    (void)fallback_tend(&supervisor, NOW);
    assert_true(supervisor.fallback_open);
    assert_true(caller_read(clients[0], reply, sizeof reply) != (size_t)-1);
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
        fallback_accept(&supervisor);
        (void)fallback_tend(&supervisor, NOW);
    }
    assert_in_range(supervisor.orphans.count, 1, WAITING - 1);
    int prober = come("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    fallback_accept(&supervisor);
    (void)fallback_tend(&supervisor, NOW);
    assert_true(caller_read(prober, reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "200 OK"));
    int queued = WAITING - (int)supervisor.orphans.count;
    assert_int_equal(empty_queue(), queued);
    close(prober);
    for (size_t i = 0; i < WAITING; i++) {
        close(clients[i]);
    }
}

/* A kept connection that waits here, because its worker has died and none is up. */
static int add_kept(uint64_t now)
{
    int client = caller_connect(serving);
    int connection = listener_accept(&supervisor.listener);
    assert_true(connection >= 0);
    assert_true(orphans_add(&supervisor.orphans, connection, true, now));
    return client;
}

static void a_kept_connection_may_be_idle_here_as_long_as_with_a_worker(void **state)
{
    (void)state;
    char byte;
    int client = add_kept(NOW);
    (void)fallback_tend(&supervisor, NOW);
    (void)fallback_tend(&supervisor, NOW + 3 * CLOCK_SECOND);
    assert_int_equal(supervisor.orphans.count, 1);
    (void)fallback_tend(&supervisor, NOW + 4 * CLOCK_SECOND);
    assert_int_equal(supervisor.orphans.count, 0);
    assert_int_equal(recv(client, &byte, 1, 0), 0); /* without a word */
    close(client);
}

static void its_next_request_has_its_whole_time_here_too(void **state)
{
    (void)state;
    char reply[512];
    int client = add_kept(NOW);
    (void)fallback_tend(&supervisor, NOW);
    assert_true(caller_send(client, "POST /", 6));
    (void)fallback_tend(&supervisor, NOW + 3 * CLOCK_SECOND);
    (void)fallback_tend(&supervisor, NOW + 3 * CLOCK_SECOND + 990 * CLOCK_MS);
    assert_int_equal(supervisor.orphans.count, 1);
    (void)fallback_tend(&supervisor, NOW + 4 * CLOCK_SECOND);
    assert_int_equal(supervisor.orphans.count, 0);
    assert_true(caller_read(client, reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "408"));
    close(client);
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
        (void)fallback_tend(&supervisor, NOW);
        assert_true(supervisor.fallback_open);
        worker.board->turns += progress_rows[i].turns;
        worker.board->requests += progress_rows[i].requests;
        int client = come("[1]");
        fallback_accept(&supervisor);
        if (!listener_is_waiting(&supervisor.listener) || supervisor.fallback_open) {
            fail_msg("%s: the fallback acceptor takes a client", progress_rows[i].name);
        }
        (void)fallback_tend(&supervisor, NOW);
        assert_false(supervisor.fallback_open);
        int accepted = listener_accept(&supervisor.listener); /* as the worker would */
        assert_true(accepted >= 0);
        close(accepted);
        close(client);
        supervisor.tick_at = NOW;
        (void)tick(&supervisor, NOW); /* it has got on since the tick before: not yet */
        (void)fallback_tend(&supervisor, NOW);
        assert_false(supervisor.fallback_open);
    }
}

static void while_it_is_open_a_worker_is_to_say_that_it_gets_on(void **state)
{
    (void)state;
    assert_int_equal(worker.board->awaited, 1);
    fallback_close(&supervisor);
    assert_int_equal(worker.board->awaited, 0);
}

static void once_a_worker_gets_on_it_hands_over_the_silent(void **state)
{
    (void)state;
    int client = come("");
    fallback_accept(&supervisor);
    (void)fallback_tend(&supervisor, NOW);
    assert_int_equal(empty_queue(), 0);
    worker.board->turns++;
    (void)fallback_tend(&supervisor, NOW);
    assert_int_equal(empty_queue(), 1);
    assert_int_equal(supervisor.orphans.count, 0);
    close(client);
}

static void a_worker_that_is_about_to_end_does_not_count(void **state)
{
    (void)state;
    struct worker two[2] = {worker, worker};
    struct scoreboard *board = worker.board;
    assert_int_equal(worker_init(&two[1], 1), 0);
    two[1].state = WORKER_STOPPING;
    two[1].board->turns = 99;
    supervisor.workers = two;
    supervisor.worker_count = 2;
    assert_ptr_equal(two[0].board, board);
    int client = come("[1]");
    fallback_accept(&supervisor);
    assert_false(listener_is_waiting(&supervisor.listener));
    close(client);
    worker_drop_board(&two[1]);
}

static void after_it_was_closed_it_takes_nobody(void **state)
{
    (void)state;
    fallback_close(&supervisor);
    int client = come("[1]");
    fallback_accept(&supervisor); /* an event of the same round */
    assert_true(listener_is_waiting(&supervisor.listener));
    close(client);
}

static void without_a_worker_it_opens_after_a_tick(void **state)
{
    (void)state;
    fallback_close(&supervisor);
    worker.state = WORKER_DOWN;
    supervisor.all_busy = false;
    supervisor.alone_since = NOW;
    assert_true(fallback_tend(&supervisor, NOW) <= NOW + 100 * CLOCK_MS);
    assert_false(supervisor.fallback_open);
    (void)fallback_tend(&supervisor, NOW + 100 * CLOCK_MS);
    assert_true(supervisor.fallback_open);
    worker.board->turns++; /* what a dead worker's page says is of no interest */
    int client = come("[1]");
    fallback_accept(&supervisor);
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
    const char *reply;
};

#define NOT_READY "{\"error\":\"server_error\",\"message\":\"no worker was ready in time\"}"
#define TOO_LATE(bytes)                                                                                                \
    "{\"error\":\"connection_error\",\"message\":\"the request was not complete within 1000 ms "                       \
    "(ASYA_READ_TIMEOUT); " bytes " bytes arrived\"}"

static const struct patience_row patience_rows[] = {
    {"a request waits for the back-off as long as it may take to arrive", WORKER_DOWN, CLOCK_NEVER, 0, "[1]",
     CLOCK_SECOND, NOT_READY},
    {"for a load it waits longer", WORKER_STARTING, 0, 0, "[1]", 300 * CLOCK_SECOND, NOT_READY},
    {"a load that is about to begin is one", WORKER_DOWN, NOW, 0, "[1]", 300 * CLOCK_SECOND, NOT_READY},
    {"as long as a load may take", WORKER_STARTING, 0, 7 * CLOCK_SECOND, "[1]", 7 * CLOCK_SECOND, NOT_READY},
    {"but not less than it may take to arrive", WORKER_STARTING, 0, CLOCK_MS, "[1]", CLOCK_SECOND, NOT_READY},
    {"who says nothing does not", WORKER_STARTING, 0, 0, "", CLOCK_SECOND, TOO_LATE("0")},
    {"nor who says half of it", WORKER_STARTING, 0, 0, "[1", CLOCK_SECOND, TOO_LATE("2")},
    {"while all are busy, who says nothing has its time", WORKER_READY, 0, 0, "", CLOCK_SECOND, TOO_LATE("0")},
    {"and who says half of it", WORKER_READY, 0, 0, "{\"half", CLOCK_SECOND, TOO_LATE("6")},
};

static void everybody_waits_for_a_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof patience_rows / sizeof patience_rows[0]; i++) {
        const struct patience_row *row = &patience_rows[i];
        supervisor.alone_since = row->state == WORKER_READY ? CLOCK_NEVER : NOW;
        worker.state = row->state;
        worker.spawn_at = row->spawn_at;
        options.startup_timeout = row->startup_timeout;
        int client = come(row->message);
        (void)fallback_tend(&supervisor, NOW);
        fallback_accept(&supervisor);
        assert_int_equal(supervisor.orphans.count, 1);
        supervisor.orphans.since[0] = NOW;
        (void)fallback_tend(&supervisor, NOW + row->waits - 1);
        uint32_t before = supervisor.orphans.count;
        (void)fallback_tend(&supervisor, NOW + row->waits);
        if (before != 1 || supervisor.orphans.count != 0) {
            fail_msg("%s: not so", row->name);
        }
        char reply[512];
        size_t size = caller_read(client, reply, sizeof reply - 1);
        assert_true(size < sizeof reply);
        reply[size] = '\0';
        if (strcmp(reply, row->reply) != 0) {
            fail_msg("%s: %s", row->name, reply);
        }
        close(client);
    }
}

static void a_request_for_health_that_is_not_complete_is_told_in_its_own_form(void **state)
{
    (void)state;
    char reply[512];
    int client = come("GET /heal");
    fallback_accept(&supervisor);
    (void)fallback_tend(&supervisor, NOW);
    supervisor.orphans.since[0] = NOW;
    (void)fallback_tend(&supervisor, NOW + CLOCK_SECOND);
    assert_true(caller_read(client, reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "HTTP/1.1 408 "));
    close(client);
}

static void a_client_that_is_gone_takes_no_place(void **state)
{
    (void)state;
    close(come(""));
    fallback_accept(&supervisor);
    (void)fallback_tend(&supervisor, NOW);
    assert_int_equal(supervisor.orphans.count, 0);
    assert_int_equal(empty_queue(), 0);
}

struct way_row {
    const char *name;
    const char *message;
    uint64_t age;
    const char *reply; /* what it is told when another one comes; NULL: it stays */
};

static const struct way_row way_rows[] = {
    {"silent", "", 250 * CLOCK_MS, "connection_error"},
    {"silent, but it has only just come", "", 50 * CLOCK_MS, NULL},
    {"slow", "[1", 1100 * CLOCK_MS, "connection_error"},
    {"slow, in HTTP", "POST /invoke HTTP/1.1\r\n", 1100 * CLOCK_MS, "HTTP/1.1 408 "},
    {"it may still be on its way", "[1", 500 * CLOCK_MS, NULL},
    {"a request", "[1]", 100 * CLOCK_SECOND, NULL},
};

static void when_it_is_full_who_says_nothing_gives_way(void **state)
{
    (void)state;
    while (supervisor.queue_send >= 0 && control_send(supervisor.queue_send, CONTROL_CONNECTION, NULL, 0) == 0) {
    } /* nothing can be handed on */
    for (size_t i = 0; i < sizeof way_rows / sizeof way_rows[0]; i++) {
        const struct way_row *row = &way_rows[i];
        char reply[512];
        int client = come(row->message);
        (void)fallback_tend(&supervisor, NOW);
        fallback_accept(&supervisor);
        (void)fallback_tend(&supervisor, NOW);
        assert_int_equal(supervisor.orphans.count, 1);
        supervisor.orphans.since[0] = clock_now() - row->age;
        supervisor.orphans.numbers_end = 1; /* one is as many as there may be */
        int other = come("[2]");
        fallback_accept(&supervisor);
        if (listener_is_waiting(&supervisor.listener) != (row->reply == NULL)) {
            fail_msg("%s: not so", row->name);
        }
        assert_int_equal(supervisor.orphans.count, 1);
        if (row->reply != NULL) {
            assert_true(caller_read(client, reply, sizeof reply) != (size_t)-1);
            assert_non_null(strstr(reply, row->reply));
        } else {
            assert_false(supervisor.fallback_open); /* it would be woken all the time */
            int accepted = listener_accept(&supervisor.listener);
            close(accepted);
        }
        close(client);
        close(other);
        fd_close(&supervisor.orphans.fds[0]);
        supervisor.orphans.count = 0;
        supervisor.orphans.numbers_end = 0;
        supervisor.fallback_opens_at = 0;
    }
}

/* ETOOMANYREFS and the like: the workers are idle, and take from the backlog. */
static void who_cannot_be_handed_on_is_told_in_time_and_followed_by_nobody(void **state)
{
    (void)state;
    char reply[512];
    int queue = supervisor.queue_send;
    supervisor.queue_send = -1;
    int clients[] = {come(""), come("[1]")};
    fallback_accept(&supervisor);
    (void)fallback_tend(&supervisor, NOW);
    assert_int_equal(supervisor.orphans.count, 2);
    int next = come("[2]");
    fallback_accept(&supervisor);
    assert_true(listener_is_waiting(&supervisor.listener));
    assert_false(supervisor.fallback_open);
    worker.board->turns++; /* it gets on */
    (void)fallback_tend(&supervisor, NOW);
    supervisor.orphans.since[0] = supervisor.orphans.since[1] = NOW;
    supervisor.stuck_since = NOW;
    (void)fallback_tend(&supervisor, NOW + CLOCK_SECOND - 1);
    assert_int_equal(supervisor.orphans.count, 2);
    (void)fallback_tend(&supervisor, NOW + CLOCK_SECOND);
    assert_int_equal(supervisor.orphans.count, 0);
    assert_true(caller_read(clients[0], reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "connection_error"));
    assert_true(caller_read(clients[1], reply, sizeof reply) != (size_t)-1);
    assert_non_null(strstr(reply, "server_error"));
    assert_non_null(strstr(reply, "could not be handed to a worker"));
    supervisor.queue_send = queue;
    close(clients[0]);
    close(clients[1]);
    close(next);
}

static void a_full_queue_is_no_reason_while_all_are_busy(void **state)
{
    (void)state;
    while (control_send(supervisor.queue_send, CONTROL_CONNECTION, NULL, 0) == 0) {
    }
    int client = come("[1]");
    fallback_accept(&supervisor);
    for (uint64_t now = NOW; now < NOW + 10 * CLOCK_SECOND; now += CLOCK_SECOND) {
        (void)fallback_tend(&supervisor, now);
    }
    assert_int_equal(supervisor.orphans.count, 1);
    close(client);
}

static void while_all_are_full_of_clients_it_is_open_too(void **state)
{
    (void)state;
    worker.board->busy = worker.board->running = 0;
    uint64_t now = NOW + 10 * CLOCK_SECOND;
    for (int full = 0; full < 3; full++) {
        worker.board->full = full % 2 != 0 ? FULL_FOR_NOW : FULL_NOT;
        worker.board->turns++; /* its loop goes round all the same */
        tick_wake(&supervisor, now);
        (void)tick(&supervisor, now);
        (void)fallback_tend(&supervisor, now);
        assert_int_equal(supervisor.fallback_open, full % 2);
        now += CLOCK_SECOND;
        worker.board->turns++;
        (void)fallback_tend(&supervisor, now);
        assert_int_equal(supervisor.fallback_open, full % 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FALLBACK_TEST(everybody_waits_for_a_time),
        FALLBACK_TEST(a_request_for_health_that_is_not_complete_is_told_in_its_own_form),
        FALLBACK_TEST(a_client_that_is_gone_takes_no_place),
        FALLBACK_TEST(when_it_is_full_who_says_nothing_gives_way),
        FALLBACK_TEST(who_cannot_be_handed_on_is_told_in_time_and_followed_by_nobody),
        FALLBACK_TEST(a_full_queue_is_no_reason_while_all_are_busy),
        FALLBACK_TEST(while_all_are_full_of_clients_it_is_open_too),
        FALLBACK_TEST(while_nobody_gets_on_it_takes_who_comes),
        FALLBACK_TEST(a_full_queue_is_not_a_want_of_workers),
        FALLBACK_TEST(a_kept_connection_may_be_idle_here_as_long_as_with_a_worker),
        FALLBACK_TEST(its_next_request_has_its_whole_time_here_too),
        FALLBACK_TEST(once_a_worker_gets_on_it_takes_nobody),
        FALLBACK_TEST(while_it_is_open_a_worker_is_to_say_that_it_gets_on),
        FALLBACK_TEST(once_a_worker_gets_on_it_hands_over_the_silent),
        FALLBACK_TEST(a_worker_that_is_about_to_end_does_not_count),
        FALLBACK_TEST(after_it_was_closed_it_takes_nobody),
        FALLBACK_TEST(without_a_worker_it_opens_after_a_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
