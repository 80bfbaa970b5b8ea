/* watch: deadlines and clients that went away, at times of the test's own making. */
#include "capture.h"
#include "descriptors.h"

#include "base/clock.h"
#include "server/cancel.h"
#include "supervisor/deadline.h"
#include "wire/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT  (2 * CLOCK_SECOND)
#define SINCE  (100 * CLOCK_SECOND)
#define LATE   (SINCE + LIMIT)
#define ANSWER (150 * CLOCK_MS)

static struct worker worker;
static struct options options;
static int client;
static int sending; /* end of the client's fdstore entry, which the worker would have */

/* A worker's process that takes no notice of anything but SIGKILL. */
static pid_t spawn_stubborn(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)setpgid(0, 0);
        (void)signal(SIGTERM, SIG_IGN);
        (void)signal(STACK_SIGNAL, SIG_IGN);
        (void)signal(CANCEL_SIGNAL, SIG_IGN);
        (void)!write(ready[1], "x", 1);
        for (;;) {
            pause();
        }
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

/* One ready worker, whose slot 2 runs request 5 of our client since SINCE. */
static int begin(void **state)
{
    if (descriptors_note(state) != 0 || worker_init(&worker, 0) != 0) {
        return -1;
    }
    struct worker_ends ends = WORKER_ENDS_NONE;
    int pair[2];
    pid_t process = spawn_stubborn(); /* before there is a client, which it must not hold */
    assert_int_equal(worker_prepare(&worker, NULL, &ends), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(fdstore_put(&worker.fdstore, 2, pair[1]), 0);
    close(pair[1]);
    client = pair[0];
    sending = dup(worker.fdstore.send[2]);
    worker_forked(&worker, process, &ends, SINCE);
    worker.state = WORKER_READY;
    worker.board->slots[2].stored = 1;
    worker.board->slots[2].state = SLOT_RUNNING;
    worker.board->slots[2].sequence = 5;
    worker.board->requests = 100; /* more than any number here */
    worker.board->slots[2].since = SINCE;
    options = (struct options){.handler_timeout = LIMIT, .handler_grace = CLOCK_SECOND, .cancel_on_disconnect = true};
    capture_begin();
    return 0;
}

static int end(void **state)
{
    capture_give_up();
    if (worker.pid > 0) {
        worker_kill(&worker, SIGKILL);
        (void)waitpid(worker.pid, NULL, 0);
    }
    worker_ended(&worker);
    close(sending);
    worker_drop_board(&worker);
    if (client >= 0) {
        close(client);
    }
    return descriptors_check(state);
}

#define WATCH_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

/* What the client has got so far, NUL-terminated. */
static const char *heard(void)
{
    static char reply[4096];
    ssize_t got = recv(client, reply, sizeof reply - 1, MSG_DONTWAIT);
    reply[got > 0 ? got : 0] = '\0';
    return reply;
}

static bool is_alive(void) { return waitpid(worker.pid, NULL, WNOHANG) == 0; }

static void before_the_deadline_nothing_happens(void **state)
{
    (void)state;
    options.cancel_on_disconnect = false;
    assert_int_equal(deadline_tend(&worker, &options, SINCE), LATE);
    assert_int_equal(deadline_tend(&worker, &options, LATE - 1), LATE);
    assert_int_equal(worker.board->slots[2].cancel, 0);
    assert_string_equal(heard(), "");
    assert_true(is_alive());
}

static void the_stages_follow_each_other(void **state)
{
    (void)state;
    struct scoreboard_slot *slot = &worker.board->slots[2];
    uint64_t next = deadline_tend(&worker, &options, LATE);
    assert_int_equal(slot->cancel, 5); /* first an exception in the function */
    assert_int_equal(slot->reason, CANCEL_TIMEOUT);
    assert_true(next > LATE && next <= LATE + ANSWER);
    next = deadline_tend(&worker, &options, LATE + ANSWER - 1);
    assert_string_equal(heard(), "");
    assert_true(next <= LATE + ANSWER);
    next = deadline_tend(&worker, &options, LATE + ANSWER); /* then the reply, within the limit and 250 ms */
    assert_non_null(strstr(heard(), "\"type\":\"HandlerTimeout\""));
    assert_int_equal(slot->state, SLOT_ANSWERED);
    assert_true(next <= LATE + CLOCK_SECOND);
    next = deadline_tend(&worker, &options, LATE + CLOCK_SECOND); /* then SIGTERM, which this one ignores */
    assert_true(next <= LATE + 2 * CLOCK_SECOND);
    assert_true(is_alive());
    (void)deadline_tend(&worker, &options, LATE + 2 * CLOCK_SECOND); /* then SIGKILL */
    int status;
    assert_int_equal(waitpid(worker.pid, &status, 0), worker.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    worker.pid = 0;
    assert_string_equal(heard(), ""); /* one reply */
}

static void a_supervisor_that_slept_does_all_that_is_due_once(void **state)
{
    (void)state;
    uint64_t next = deadline_tend(&worker, &options, LATE + 60 * CLOCK_SECOND);
    assert_string_equal(heard(), "");
    assert_in_range(next, LATE + 60 * CLOCK_SECOND + 1, LATE + 60 * CLOCK_SECOND + ANSWER); /* the stack is written */
    (void)deadline_tend(&worker, &options, next);
    assert_non_null(strstr(heard(), "\"HandlerTimeout\""));
    int status;
    assert_int_equal(waitpid(worker.pid, &status, 0), worker.pid);
    worker.pid = 0;
}

static void a_function_that_obeys_keeps_its_worker(void **state)
{
    (void)state;
    (void)deadline_tend(&worker, &options, LATE);
    worker.board->slots[2].state = SLOT_REPLYING;
    (void)deadline_tend(&worker, &options, LATE + ANSWER);
    (void)deadline_tend(&worker, &options, LATE + 5 * CLOCK_SECOND);
    assert_string_equal(heard(), "");
    assert_true(is_alive());
    worker.board->slots[2].sequence = 6; /* the next request has its own time */
    worker.board->slots[2].since = LATE + 5 * CLOCK_SECOND;
    worker.board->slots[2].stored = 1;
    worker.board->slots[2].state = SLOT_RUNNING;
    (void)deadline_tend(&worker, &options, LATE + 5 * CLOCK_SECOND + LIMIT - 1);
    assert_int_equal(worker.board->slots[2].cancel, 5);
    (void)deadline_tend(&worker, &options, LATE + 5 * CLOCK_SECOND + LIMIT);
    assert_int_equal(worker.board->slots[2].cancel, 6);
}

static void a_stream_over_its_time_is_ended_and_never_while_its_worker_sends(void **state)
{
    (void)state;
    struct scoreboard_slot *slot = &worker.board->slots[2];
    slot->state = SLOT_PUSHING;
    slot->protocol = PROTOCOL_HTTP;
    slot->left = 0;
    slot->then = THEN_EVENT;
    (void)deadline_tend(&worker, &options, LATE);
    assert_int_equal(slot->cancel, 5); /* as for any other */
    uint64_t next = deadline_tend(&worker, &options, LATE + ANSWER);
    assert_string_equal(heard(), "");
    assert_true(next > LATE + ANSWER && next < LATE + ANSWER + 20 * CLOCK_MS); /* it is looked again soon */
    slot->state = SLOT_STREAMING;
    (void)deadline_tend(&worker, &options, next);
    assert_int_equal(slot->state, SLOT_ANSWERED);
    const char *reply = heard();
    assert_non_null(strstr(reply, "event: error\ndata: {\"error\":\"processing_error\""));
    assert_non_null(strstr(reply, "HandlerTimeout"));
    assert_string_equal(reply + strlen(reply) - 5, "0\r\n\r\n");
}

static void a_worker_that_stands_still_as_it_sends_is_killed_all_the_same(void **state)
{
    (void)state;
    worker.board->slots[2].state = SLOT_PUSHING;
    for (uint64_t now = LATE; now < LATE + 3 * CLOCK_SECOND; now += 10 * CLOCK_MS) {
        (void)deadline_tend(&worker, &options, now);
    }
    assert_string_equal(heard(), ""); /* its connection is dealt with once it is dead */
    int status;
    assert_int_equal(waitpid(worker.pid, &status, 0), worker.pid);
    worker.pid = 0;
}

static void an_overrun_is_one_line_in_the_log(void **state)
{
    (void)state;
    for (uint64_t now = LATE; now < LATE + CLOCK_SECOND; now += 10 * CLOCK_MS) {
        (void)deadline_tend(&worker, &options, now);
    }
    assert_int_equal(capture_count(capture_end(), "ASYA_HANDLER_TIMEOUT"), 1);
    capture_begin();
}

static void without_a_limit_a_function_may_run_for_ever(void **state)
{
    (void)state;
    options.handler_timeout = 0;
    (void)deadline_tend(&worker, &options, SINCE + 1000000 * CLOCK_SECOND);
    assert_int_equal(worker.board->slots[2].cancel, 0);
    assert_true(is_alive());
    options.cancel_on_disconnect = false;
    assert_int_equal(deadline_tend(&worker, &options, SINCE + 1000000 * CLOCK_SECOND), CLOCK_NEVER);
}

static void a_client_that_went_away_cancels_its_request(void **state)
{
    (void)state;
    (void)deadline_tend(&worker, &options, SINCE + CLOCK_SECOND);
    assert_int_equal(worker.board->slots[2].cancel, 0);
    close(client);
    client = -1;
    (void)deadline_tend(&worker, &options, SINCE + CLOCK_SECOND + 100 * CLOCK_MS);
    assert_int_equal(worker.board->slots[2].cancel, 5);
    assert_int_equal(worker.board->slots[2].reason, CANCEL_CLIENT_GONE);
    assert_true(is_alive());
}

static void a_client_that_half_closed_still_wants_its_reply(void **state)
{
    (void)state;
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    (void)deadline_tend(&worker, &options, SINCE + CLOCK_SECOND);
    assert_int_equal(worker.board->slots[2].cancel, 0);
}

static void who_does_not_want_that_is_not_cancelled(void **state)
{
    (void)state;
    options.cancel_on_disconnect = false;
    close(client);
    client = -1;
    (void)deadline_tend(&worker, &options, SINCE + CLOCK_SECOND);
    assert_int_equal(worker.board->slots[2].cancel, 0);
}

static void a_page_that_lies_costs_its_own_worker_at_most(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, SINCE, LATE, LATE + 1, UINT64_MAX - 1, UINT64_MAX, 1ULL << 63};
    static const uint32_t states[] = {
        SLOT_FREE, SLOT_WAITING, SLOT_RUNNING, SLOT_REPLYING, SLOT_STREAMING, SLOT_ANSWERED, SLOT_PUSHING,
        0,         77,           UINT32_MAX};
    enum { NUMBERS = sizeof numbers / sizeof numbers[0], STATES = sizeof states / sizeof states[0] };
    for (size_t i = 0; i < (size_t)NUMBERS * NUMBERS * STATES; i++) {
        for (size_t k = 0; k < SLOTS_MAX; k += 7) {
            struct scoreboard_slot *slot = &worker.board->slots[k];
            slot->since = numbers[(i + k) % NUMBERS];
            slot->sequence = numbers[(i / NUMBERS + k) % NUMBERS];
            slot->state = states[i / NUMBERS / NUMBERS % STATES];
        }
        (void)deadline_tend(&worker, &options, LATE + i);
    }
    int status; /* it may have been killed for it, and nobody else */
    (void)waitpid(worker.pid, &status, WNOHANG);
}

/* For want of descriptors it has a place on the scoreboard and nothing else. */
static void a_request_that_is_not_parked_has_its_limit_too(void **state)
{
    (void)state;
    struct scoreboard_slot *slot = &worker.board->slots[SLOTS_MAX - 1];
    worker.board->slots[2].state = SLOT_FREE;
    slot->stored = 0;
    slot->since = SINCE;
    slot->sequence = 6;
    slot->state = SLOT_RUNNING;
    uint64_t overdue[SLOTS_MAX / 64];
    deadline_list_overdue(&worker, overdue);
    assert_int_equal(overdue[SLOTS_MAX / 64 - 1], 0);
    for (uint64_t now = LATE; now < LATE + 2 * CLOCK_SECOND; now += 50 * CLOCK_MS) {
        (void)deadline_tend(&worker, &options, now);
    }
    assert_int_equal(slot->cancel, 6);
    assert_int_equal(slot->state, SLOT_RUNNING); /* its connection is nowhere but in the worker */
    assert_true(is_alive());
    (void)deadline_tend(&worker, &options, LATE + 2 * CLOCK_SECOND);
    int status;
    assert_int_equal(waitpid(worker.pid, &status, 0), worker.pid);
    worker.pid = 0;
    deadline_list_overdue(&worker, overdue);
    assert_int_equal(overdue[0], 0);
    assert_int_equal(overdue[SLOTS_MAX / 64 - 1], UINT64_C(1) << 63); /* so its client is told of the limit */
    slot->sequence = 7;                                               /* but not the client of another request */
    deadline_list_overdue(&worker, overdue);
    assert_int_equal(overdue[SLOTS_MAX / 64 - 1], 0);
}

struct write_row {
    const char *name;
    uint32_t state;
    uint64_t sequence;
    uint64_t since;
    uint16_t lead;
    uint16_t protocol;
};

static const struct write_row write_rows[] = {
    {"zeros", 0, 0, 0, 0, 0},
    {"ones", UINT32_MAX, UINT64_MAX, UINT64_MAX, UINT16_MAX, UINT16_MAX},
    {"text", 0x41414141, 0x4141414141414141, 0x4141414141414141, 0x4141, 0x4141},
    {"small numbers", 7, 3, 3, 3, 3},
    {"another number and time only", SLOT_RUNNING, UINT64_MAX, LATE + 1000 * CLOCK_SECOND, 2, PROTOCOL_HTTP},
    {"an older number and a later time", SLOT_RUNNING, 4, LATE - 1, 2, PROTOCOL_HTTP},
};

/* The function has written over its place: that it runs, and since when, is remembered, and where it is stored is
 * found. */
static void the_limit_holds_though_the_page_says_nothing_any_more(void **state)
{
    (void)state;
    struct scoreboard_slot *slot = &worker.board->slots[2];
    for (size_t i = 0; i < sizeof write_rows / sizeof write_rows[0]; i++) {
        const struct write_row *row = &write_rows[i];
        slot->state = SLOT_RUNNING;
        slot->sequence = 5;
        slot->since = SINCE;
        slot->protocol = PROTOCOL_HTTP;
        (void)deadline_tend(&worker, &options, SINCE + CLOCK_MS);
        slot->state = row->state;
        slot->sequence = row->sequence;
        slot->since = row->since;
        slot->protocol = row->protocol;
        assert_true(deadline_any_running(&worker));
        (void)deadline_tend(&worker, &options, LATE - 1);
        (void)deadline_tend(&worker, &options, LATE);
        (void)deadline_tend(&worker, &options, LATE + ANSWER - 1);
        const char *early = heard();
        assert_string_equal(early, "");
        (void)deadline_tend(&worker, &options, LATE + ANSWER);
        const char *reply = heard();
        if (strstr(reply, "HTTP/1.1 500") != reply || strstr(reply, "HandlerTimeout") == NULL) {
            fail_msg("%s: %s", row->name, reply);
        }
        assert_int_equal(SLOT_STATE(slot->state), SLOT_ANSWERED);
        uint64_t overdue[SLOTS_MAX / 64];
        deadline_list_overdue(&worker, overdue);
        assert_int_equal(overdue[0], 4);
        slot->state = SLOT_FREE;
        (void)deadline_tend(&worker, &options, LATE + ANSWER);
        assert_false(deadline_any_running(&worker));
        int pair[2];
        close(client);
        fdstore_drop(&worker.fdstore, 2);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        struct fdstore ours = worker.fdstore;
        ours.send[2] = sending;
        assert_int_equal(fdstore_put(&ours, 2, pair[1]), 0);
        close(pair[1]);
        client = pair[0];
    }
}

static void what_was_never_seen_to_run_does_not(void **state)
{
    (void)state;
    worker.board->slots[2].state = SLOT_FREE;
    memset(&worker.board->slots[3], 0, 5 * sizeof worker.board->slots[0]);
    memset(&worker.board->slots[9], 0xFF, 5 * sizeof worker.board->slots[0]);
    (void)deadline_tend(&worker, &options, LATE + 10 * CLOCK_SECOND);
    assert_false(deadline_any_running(&worker));
    assert_true(is_alive());
}

static void another_one_that_is_not_parked_is_not_killed_with_it(void **state)
{
    (void)state;
    struct scoreboard_slot *slot = &worker.board->slots[SLOTS_MAX - 1];
    slot->stored = 0;
    slot->since = SINCE + CLOCK_SECOND;
    slot->sequence = 6;
    slot->state = SLOT_RUNNING;
    for (uint64_t now = LATE; now < LATE + CLOCK_SECOND; now += 50 * CLOCK_MS) {
        (void)deadline_tend(&worker, &options, now);
    }
    (void)deadline_tend(&worker, &options, slot->since + LIMIT - 1);
    assert_true(is_alive());
    assert_false(worker.wedged);
}

static void a_worker_that_is_not_up_is_not_watched(void **state)
{
    (void)state;
    worker.state = WORKER_STARTING;
    assert_int_equal(deadline_tend(&worker, &options, LATE + 10 * CLOCK_SECOND), CLOCK_NEVER);
    worker.state = WORKER_DOWN;
    assert_int_equal(deadline_tend(&worker, &options, LATE + 10 * CLOCK_SECOND), CLOCK_NEVER);
    assert_int_equal(worker.board->slots[2].cancel, 0);
    worker.state = WORKER_STOPPING; /* but one that finishes is */
    (void)deadline_tend(&worker, &options, LATE);
    assert_int_equal(worker.board->slots[2].cancel, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(before_the_deadline_nothing_happens),
        WATCH_TEST(the_stages_follow_each_other),
        WATCH_TEST(a_supervisor_that_slept_does_all_that_is_due_once),
        WATCH_TEST(a_function_that_obeys_keeps_its_worker),
        WATCH_TEST(a_stream_over_its_time_is_ended_and_never_while_its_worker_sends),
        WATCH_TEST(a_worker_that_stands_still_as_it_sends_is_killed_all_the_same),
        WATCH_TEST(an_overrun_is_one_line_in_the_log),
        WATCH_TEST(without_a_limit_a_function_may_run_for_ever),
        WATCH_TEST(a_client_that_went_away_cancels_its_request),
        WATCH_TEST(a_client_that_half_closed_still_wants_its_reply),
        WATCH_TEST(who_does_not_want_that_is_not_cancelled),
        WATCH_TEST(a_page_that_lies_costs_its_own_worker_at_most),
        WATCH_TEST(a_request_that_is_not_parked_has_its_limit_too),
        WATCH_TEST(the_limit_holds_though_the_page_says_nothing_any_more),
        WATCH_TEST(what_was_never_seen_to_run_does_not),
        WATCH_TEST(another_one_that_is_not_parked_is_not_killed_with_it),
        WATCH_TEST(a_worker_that_is_not_up_is_not_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
