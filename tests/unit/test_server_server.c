/* server: what a worker does at the supervisor's word, at a stop, and when slots, descriptors or places run out. */
#include "capture.h"
#include "descriptors.h"
#include "json_check.h"
#include "serving.h"

#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "server/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { REPLY_SIZE = 4096 };

#define OK(json) "{\"status\":\"ok\",\"result\":" json "}"

static void assert_answered(int client, const char *expected)
{
    char reply[REPLY_SIZE];
    size_t size = caller_read(client, reply, sizeof reply);
    if (size != strlen(expected) || memcmp(reply, expected, size) != 0) {
        fail_msg("%s, not %s", reply, expected);
    }
    close(client);
}

/* How many descriptors are open once the server rests: a client may hear the end before the number is free again. */
static size_t count_at_rest(void)
{
    size_t count = descriptors_count();
    for (int same = 0; same < 20; same++) {
        usleep(1000);
        size_t again = descriptors_count();
        same = again == count ? same : 0;
        count = again;
    }
    return count;
}

/* Nobody has said anything to it for a moment. */
static void assert_left_waiting(int client)
{
    struct pollfd look = {.fd = client, .events = POLLIN};
    assert_int_equal(poll(&look, 1, 50), 0);
}

/* The next message of the worker, for which a second is enough. */
static int hear(const struct serving *serving, struct control_message *message, int fds[CONTROL_FDS_MAX])
{
    struct pollfd look = {.fd = serving->control, .events = POLLIN};
    assert_int_equal(poll(&look, 1, 5000), 1);
    return control_receive(serving->control, message, fds);
}

/* ---- stopping --------------------------------------------------------------------------------------------------- */

static void an_idle_worker_drains_at_once(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    uint64_t start = clock_now();
    assert_true(serving_stop(serving));
    assert_true(clock_now() - start < 5 * CLOCK_SECOND);
}

static void who_is_queued_or_in_the_middle_is_answered_at_a_stop(void **state)
{
    (void)state;
    enum { CLIENTS = 100 };
    int clients[CLIENTS];
    struct serving *serving = serving_make(4);
    for (int i = 0; i < CLIENTS; i++) { /* all before the server runs: they wait in the backlog */
        clients[i] = caller_connect(serving);
        assert_true(caller_send(clients[i], i % 2 == 0 ? "[1]" : "[1", i % 2 == 0 ? 3 : 2));
    }
    assert_int_equal(control_send(serving->control, CONTROL_DRAIN, NULL, 0), 0);
    serving_start(serving);
    for (int i = 0; i < CLIENTS; i += 2) {
        assert_answered(clients[i], OK("[1]"));
    }
    for (int i = 1; i < CLIENTS; i += 2) {
        assert_true(caller_send(clients[i], "]", 1));
        assert_answered(clients[i], OK("[1]"));
    }
    assert_true(serving_finish(serving));
}

static void a_spare_takes_nobody_until_it_is_told_to_serve(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving->config.waits = true;
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "[1]", 3));
    assert_left_waiting(client);
    assert_int_equal(control_send(serving->control, CONTROL_LOOK, NULL, 0), 0);
    assert_int_equal(control_send(serving->control, CONTROL_LISTENER, &serving->listener.fd, 1), 0);
    assert_left_waiting(client);
    assert_int_equal(control_send(serving->control, CONTROL_SERVE, NULL, 0), 0);
    assert_answered(client, OK("[1]"));
    assert_true(serving_stop(serving));
}

static void a_spare_ends_at_once_and_leaves_everybody_to_the_workers(void **state)
{
    (void)state;
    static const enum control_type ends[] = {CONTROL_DRAIN, CONTROL_RETIRE};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct serving *serving = serving_make(4);
        serving->config.waits = true;
        serving_start(serving);
        int client = caller_connect(serving);
        assert_true(caller_send(client, "[1]", 3));
        assert_int_equal(control_send(serving->control, ends[i], NULL, 0), 0);
        assert_true(serving_join(serving));
        assert_int_equal(atomic_load(&serving->answers), 0);
        serving_free(serving);
        close(client);
    }
}

static void who_has_said_nothing_is_sent_away_at_a_stop(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int silent = caller_connect(serving);
    int late = caller_connect(serving);
    assert_int_equal(control_send(serving->control, CONTROL_DRAIN, NULL, 0), 0);
    assert_true(caller_send(late, "[2]", 3)); /* who begins soon is still served */
    assert_answered(late, OK("[2]"));
    size_t size = caller_read(silent, reply, sizeof reply);
    assert_true(size != (size_t)-1 && json_check(reply, size));
    assert_non_null(strstr(reply, "\"server_error\""));
    close(silent);
    assert_true(serving_finish(serving));
    (void)capture_end();
}

static void a_running_request_is_answered_at_a_stop(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "\"wait\"", 6));
    serving_await(serving);
    assert_int_equal(control_send(serving->control, CONTROL_DRAIN, NULL, 0), 0);
    assert_int_equal(control_send(serving->control, CONTROL_DRAIN, NULL, 0), 0); /* twice does no harm */
    int queued = caller_connect(serving);
    assert_true(caller_send(queued, "[3]", 3));
    serving_release(serving);
    assert_answered(client, OK("\"wait\""));
    assert_answered(queued, OK("[3]"));
    assert_true(serving_finish(serving));
}

static void who_is_queued_at_a_stop_is_answered_beyond_the_last_request_of_a_life(void **state)
{
    (void)state;
    enum { QUEUED = 5 };
    int queued[QUEUED];
    struct serving *serving = serving_make(16);
    serving->config.max_requests = 3;
    serving->config.alone = true;
    serving_start(serving);
    int first = caller_connect(serving);
    serving_await_slot(serving, 0, SLOT_WAITING);
    assert_true(caller_send(first, "\"wait\"", 6));
    serving_await(serving);
    assert_int_equal(control_send(serving->control, CONTROL_DRAIN, NULL, 0), 0); /* comes before those */
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = caller_connect(serving);
        assert_true(caller_send(queued[i], "[3]", 3));
    }
    serving_release(serving);
    assert_answered(first, OK("\"wait\""));
    for (int i = 0; i < QUEUED; i++) {
        assert_answered(queued[i], OK("[3]"));
    }
    assert_true(serving_finish(serving));
}

static void without_a_supervisor_the_worker_ends(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "[", 1));
    fd_close(&serving->control);
    assert_true(serving_finish(serving));
    close(client);
}

/* ---- the supervisor's word -------------------------------------------------------------------------------------- */

/* Accepts a client as the supervisor does while no worker accepts: before serving_start(). Its end is *ret_client. */
static int accept_client(const struct serving *serving, int *ret_client)
{
    *ret_client = caller_connect(serving);
    int accepted = listener_accept(&serving->listener);
    assert_true(accepted >= 0);
    return accepted;
}

static void a_connection_handed_over_is_served(void **state)
{
    (void)state;
    struct serving *serving = serving_make(2);
    int clients[2];
    int accepted[2];
    for (int i = 0; i < 2; i++) {
        accepted[i] = accept_client(serving, &clients[i]);
    }
    serving_start(serving);
    for (int early = 0; early < 2; early++) { /* what was sent before is read too */
        assert_true(!early || caller_send(clients[early], "[4]", 3));
        assert_int_equal(control_send(serving->queue, CONTROL_CONNECTION, &accepted[early], 1), 0);
        close(accepted[early]);
        assert_true(early || caller_send(clients[early], "[4]", 3));
        assert_answered(clients[early], OK("[4]"));
    }
    assert_true(serving_stop(serving));
}

static void a_message_it_does_not_know_costs_nothing(void **state)
{
    (void)state;
    struct serving *serving = serving_make(2);
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "[5]", 3));
    assert_answered(client, OK("[5]"));
    size_t before = count_at_rest();
    int fds[3] = {dup(STDERR_FILENO), dup(STDERR_FILENO), dup(STDERR_FILENO)};
    assert_int_equal(control_send(serving->control, (enum control_type)999, fds, 3), 0);
    assert_int_equal(control_send(serving->control, CONTROL_LISTENER, fds, 2), 0);
    assert_int_equal(control_send(serving->control, CONTROL_LISTENER, NULL, 0), 0);
    assert_int_equal(control_send(serving->queue, CONTROL_CONNECTION, fds, 3), 0);
    assert_int_equal(control_send(serving->queue, CONTROL_CONNECTION, NULL, 0), 0);
    assert_int_equal(control_send(serving->queue, CONTROL_DRAIN, NULL, 0), 0);
    assert_int_equal(write(serving->queue, "nonsense of a wrong size", 24), 24);
    assert_int_equal(control_send(serving->control, CONTROL_SLOTS, fds, 3), 0);
    assert_int_equal(write(serving->control, "nonsense of a wrong size", 24), 24);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    client = caller_connect(serving);
    assert_true(caller_send(client, "[5]", 3));
    assert_answered(client, OK("[5]"));
    for (int i = 0; i < 1000 && descriptors_count() > before; i++) {
        usleep(1000);
    }
    assert_int_equal(descriptors_count(), before);
    assert_true(serving_stop(serving));
}

static void a_new_listener_takes_the_place_of_a_lost_one(void **state)
{
    (void)state;
    struct serving *serving = serving_make(2);
    int first = dup(serving->listener.fd); /* the one it was started with stays the caller's */
    serving->config.listener = first;
    int queued = caller_connect(serving); /* on the first one, before anybody accepts */
    assert_true(caller_send(queued, "[6]", 3));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(unlink(serving->path), 0);
        int old = -1;
        struct error err;
        assert_int_equal(listener_renew(&serving->listener, &old, &err), LISTENER_RENEWED);
        close(old);
        assert_int_equal(control_send(serving->control, CONTROL_LISTENER, &serving->listener.fd, 1), 0);
        if (i == 0) {
            serving_start(serving);
            assert_answered(queued, OK("[6]"));
        }
        int client = caller_connect(serving);
        assert_true(caller_send(client, "[7]", 3));
        assert_answered(client, OK("[7]"));
    }
    assert_true(serving_stop(serving));
    close(first);
}

/* It cannot be had back, and ending for it would cost what runs. */
static void a_listener_that_was_shut_down_is_waited_for(void **state)
{
    (void)state;
    capture_begin();
    struct serving *serving = serving_make(4);
    int first = dup(serving->listener.fd); /* the one it was started with stays the caller's */
    serving->config.listener = first;
    serving_start(serving);
    int begun = caller_connect(serving);
    assert_true(caller_send(begun, "[1", 2));
    serving_await_slot(serving, 0, SLOT_READING);
    assert_int_equal(shutdown(first, SHUT_RDWR), 0);
    for (int i = 0; i < 5000 && atomic_load(&serving->board.full) == FULL_NOT; i++) {
        usleep(1000);
    }
    assert_int_equal(atomic_load(&serving->board.full), FULL_FOR_NOW); /* the supervisor is to look */
    assert_int_equal(unlink(serving->path), 0);
    int old = -1;
    struct error err;
    assert_int_equal(listener_renew(&serving->listener, &old, &err), LISTENER_RENEWED);
    close(old);
    assert_int_equal(control_send(serving->control, CONTROL_LISTENER, &serving->listener.fd, 1), 0);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "[2]", 3));
    assert_answered(client, OK("[2]"));
    assert_true(caller_send(begun, "]", 1));
    assert_answered(begun, OK("[1]"));
    assert_true(serving_stop(serving));
    close(first);
    (void)capture_end();
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

static void more_slots_are_made_and_told_when_they_run_out(void **state)
{
    (void)state;
    enum { CLIENTS = 60 };
    int clients[CLIENTS];
    int receive[SLOTS_MAX];
    uint32_t told = 0;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = caller_connect(serving);
    }
    while (told + 4 < CLIENTS) {
        struct control_message message;
        int fds[CONTROL_FDS_MAX];
        assert_int_equal(hear(serving, &message, fds), 1);
        assert_int_equal(message.type, CONTROL_SLOTS);
        memcpy(receive + told, fds, message.count * sizeof fds[0]);
        told += message.count;
    }
    uint32_t stored = 0;
    for (int round = 0; round < 1000 && stored < CLIENTS - 4; round++) {
        stored = 0;
        for (uint32_t i = 0; i < told; i++) {
            int seen = fdstore_peek(receive[i]);
            stored += seen >= 0;
            fd_close(&seen);
        }
        usleep(1000);
    }
    assert_int_equal(stored, CLIENTS - 4); /* every client is safe from the worker's death */
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(caller_send(clients[i], "[8]", 3));
        assert_answered(clients[i], OK("[8]"));
    }
    for (uint32_t i = 0; i < told; i++) {
        int seen;
        for (int round = 0; round < 1000 && (seen = fdstore_peek(receive[i])) >= 0; round++) {
            fd_close(&seen); /* the slot is emptied after the connection has closed */
            usleep(1000);
        }
        assert_true(seen < 0);
        close(receive[i]);
    }
    assert_true(serving_stop(serving));
}

/* Receiving it without one to spare would lose the connection. */
static void who_is_handed_on_waits_for_a_free_descriptor(void **state)
{
    (void)state;
    int client;
    struct serving *serving = serving_make(4);
    int accepted = accept_client(serving, &client);
    serving_start(serving);
    assert_int_equal(caller_exchange(serving, "[1]", true, (char[64]){0}, 64), strlen(OK("[1]"))); /* it is up */
    (void)count_at_rest();
    descriptors_limit(0);
    uint64_t turns = serving->board.turns;
    int sent = control_send(serving->queue, CONTROL_CONNECTION, &accepted, 1);
    for (int i = 0; i < 5000 && serving->board.turns == turns; i++) {
        usleep(1000);
    }
    descriptors_allow();
    close(accepted);
    assert_int_equal(sent, 0);
    assert_true(serving->board.turns > turns); /* it has looked */
    assert_true(caller_send(client, "[2]", 3));
    assert_answered(client, OK("[2]"));
    assert_true(serving_stop(serving));
}

/* A client has a function called that waits. */
static struct serving *serve_one(int *ret_client)
{
    struct serving *serving = serving_make(16);
    *ret_client = caller_connect(serving);
    assert_true(caller_send(*ret_client, "\"wait\"", 6));
    serving_start(serving);
    serving_await(serving);
    return serving;
}

/* It says first that it will answer, and the function may end before it has. */
static void the_supervisor_can_answer_after_the_worker_has_let_go(void **state)
{
    (void)state;
    int client;
    struct serving *serving = serve_one(&client);
    int duplicate = fdstore_peek(serving->fdstore.receive[0]);
    assert_true(duplicate >= 0);
    assert_true(slot_move(&serving->board.slots[0], SLOT_RUNNING, SLOT_ANSWERED));
    serving_release(serving);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(caller_send(duplicate, "late", 4));
    close(duplicate);
    assert_answered(client, "late");
    assert_true(serving_stop(serving));
}

/* Those who waited on a listener that was lost are taken though the worker retires. Whoever has no fdstore entry then
 * is served: nobody would look at him again, and the next worker could not find him. */
static void who_is_not_stored_is_served_though_the_worker_retires(void **state)
{
    (void)state;
    enum { CLIENTS = 3, ROOM = 12 }; /* a step of slots takes more */
    int clients[CLIENTS];
    struct serving *serving = serving_make(1);
    int first = dup(serving->listener.fd);
    serving->config.listener = first;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = caller_connect(serving);
        assert_true(caller_send(clients[i], "[1]", 3));
    }
    assert_int_equal(unlink(serving->path), 0);
    int old = -1;
    struct error err;
    assert_int_equal(listener_renew(&serving->listener, &old, &err), EXIT_OK);
    close(old);
    assert_int_equal(control_send(serving->control, CONTROL_RETIRE, NULL, 0), 0);
    assert_int_equal(control_send(serving->control, CONTROL_LISTENER, &serving->listener.fd, 1), 0);
    descriptors_limit(ROOM);
    serving_start(serving);
    for (int i = 1; i < CLIENTS; i++) {
        assert_answered(clients[i], OK("[1]"));
    }
    assert_true(serving_finish(serving));
    descriptors_allow();
    close(clients[0]); /* stored, and the next worker's */
    close(first);
}

static void a_worker_with_others_beside_it_takes_one_at_a_time(void **state)
{
    (void)state;
    struct serving *serving = serving_make(16);
    int first = caller_connect(serving);
    int second = caller_connect(serving);
    assert_true(caller_send(first, "\"wait\"", 6));
    serving_start(serving);
    serving_await(serving);
    assert_int_equal(serving->board.slots[0].stored, 1);
    assert_int_equal(slot_state(&serving->board.slots[1]), SLOT_FREE);
    serving_release(serving);
    assert_answered(first, OK("\"wait\""));
    assert_true(caller_send(second, "[2]", 3));
    assert_answered(second, OK("[2]"));
    assert_true(serving_stop(serving));
}

static void a_worker_that_is_awaited_says_once_that_it_gets_on(void **state)
{
    (void)state;
    struct serving *serving = serving_make(16);
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "\"wait\"", 6));
    serving_await(serving);
    serving->board.awaited = 1;
    assert_int_equal(control_receive(serving->control, &message, fds), -EAGAIN); /* not in the function */
    serving_release(serving);
    assert_int_equal(hear(serving, &message, fds), 1);
    assert_int_equal(message.type, CONTROL_WATCH);
    assert_answered(client, OK("\"wait\""));
    assert_int_equal(serving->board.awaited, 0);
    int other = caller_connect(serving);
    assert_true(caller_send(other, "[1]", 3));
    assert_answered(other, OK("[1]"));
    assert_int_equal(control_receive(serving->control, &message, fds), -EAGAIN);
    assert_true(serving_stop(serving));
}

static void all_of_a_thousand_and_more_clients_are_answered(void **state)
{
    (void)state;
    enum { CLIENTS = SLOTS_MAX + 100 };
    static int clients[CLIENTS];
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (limit.rlim_max < 8000 || setrlimit(RLIMIT_NOFILE, &raised) != 0) {
        print_message("not enough descriptors allowed\n");
        skip();
        return;
    }
    struct serving *serving = serving_make(0); /* more at once than a worker may hold: the rest waits in the backlog */
    serving_start(serving);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = caller_connect(serving);
        assert_true(caller_send(clients[i], "[9", 2));
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(caller_send(clients[i], "]", 1));
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_answered(clients[i], OK("[9]"));
    }
    assert_true(serving_stop(serving));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- shortage --------------------------------------------------------------------------------------------------- */

static uint64_t cpu_time(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * CLOCK_SECOND +
           ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000;
}

static void without_descriptors_it_waits_and_recovers(void **state)
{
    (void)state;
    enum { CLIENTS = 5 };
    int clients[CLIENTS];
    int fillers[256];
    int filled = 0;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    capture_begin();
    struct serving *serving = serving_make(0);
    serving_start(serving);
    int warm = caller_connect(serving);
    assert_true(caller_send(warm, "[1]", 3));
    assert_answered(warm, OK("[1]"));
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = caller_make();
    }
    struct rlimit low = {.rlim_cur = count_at_rest() + 20, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (filled < 256 && (fillers[filled] = dup(STDERR_FILENO)) >= 0) {
        filled++;
    }
    for (int i = 0; i < CLIENTS; i++) { /* there is no number left to accept them */
        caller_dial(serving, clients[i]);
        assert_true(caller_send(clients[i], "[1]", 3));
    }
    uint64_t cpu = cpu_time();
    usleep(300000);
    cpu = cpu_time() - cpu;
    for (int i = 0; i < filled; i++) {
        close(fillers[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_answered(clients[i], OK("[1]"));
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "\n"), 1);
    assert_true(cpu < 100 * CLOCK_MS); /* it does not spin */
}

/* ---- replacement ------------------------------------------------------------------------------------------------ */

static void after_its_requests_it_asks_once_to_be_replaced(void **state)
{
    (void)state;
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    struct serving *serving = serving_make(4);
    serving->config.max_requests = 3;
    serving_start(serving);
    for (int i = 0; i < 6; i++) { /* it goes on until it is told */
        int client = caller_connect(serving);
        assert_true(caller_send(client, "[1]", 3));
        assert_answered(client, OK("[1]"));
        if (i < 2) {
            assert_int_equal(control_receive(serving->control, &message, fds), -EAGAIN);
        }
    }
    assert_int_equal(hear(serving, &message, fds), 1);
    assert_int_equal(message.type, CONTROL_RETIRE);
    assert_int_equal(control_receive(serving->control, &message, fds), -EAGAIN);
    assert_int_equal(control_send(serving->control, CONTROL_RETIRE, NULL, 0), 0);
    assert_true(serving_finish(serving));
}

static void a_retiring_worker_finishes_what_has_begun_and_leaves_the_rest_parked(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    int receive[4];
    for (int i = 0; i < 4; i++) {
        receive[i] = dup(serving->fdstore.receive[i]); /* the supervisor's */
    }
    serving_start(serving);
    int begun = caller_connect(serving);
    assert_true(caller_send(begun, "[1", 2));
    int silent = caller_connect(serving);
    int running = caller_connect(serving);
    assert_true(caller_send(running, "\"wait\"", 6));
    serving_await(serving);
    assert_int_equal(control_send(serving->control, CONTROL_RETIRE, NULL, 0), 0);
    serving_release(serving);
    assert_answered(running, OK("\"wait\""));
    int queued = caller_connect(serving); /* not for this worker any more, or just so */
    assert_true(caller_send(begun, "]", 1));
    assert_answered(begun, OK("[1]"));
    assert_true(serving_join(serving));
    int found = 0;
    for (int i = 0; i < 4; i++) {
        int taken = fdstore_take(receive[i]);
        if (taken >= 0) {
            found++;
            assert_true(caller_send(taken, "later", 5)); /* the next worker would */
        }
        fd_close(&taken);
        close(receive[i]);
    }
    assert_in_range(found, 1, 2);
    assert_answered(silent, "later");
    close(queued);
    serving_free(serving);
}

/* ---- starting --------------------------------------------------------------------------------------------------- */

static void a_control_channel_that_is_none_is_an_error_and_not_a_crash(void **state)
{
    (void)state;
    struct serving *serving = serving_make(1);
    serving->config.control = open("/dev/null", O_RDWR | O_CLOEXEC); /* cannot be watched */
    int null = serving->config.control;
    serving_start(serving);
    assert_false(serving_join(serving));
    assert_int_equal(serving->err.category, ERR_SERVER);
    assert_true(serving->err.text[0] != '\0');
    close(null);
    serving->config.control = serving->worker_control;
    serving_start(serving); /* nothing was spoilt */
    assert_true(serving_stop(serving));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(an_idle_worker_drains_at_once),
        DESCRIPTOR_TEST(who_is_queued_or_in_the_middle_is_answered_at_a_stop),
        DESCRIPTOR_TEST(a_spare_takes_nobody_until_it_is_told_to_serve),
        DESCRIPTOR_TEST(a_spare_ends_at_once_and_leaves_everybody_to_the_workers),
        DESCRIPTOR_TEST(who_has_said_nothing_is_sent_away_at_a_stop),
        DESCRIPTOR_TEST(a_running_request_is_answered_at_a_stop),
        DESCRIPTOR_TEST(who_is_queued_at_a_stop_is_answered_beyond_the_last_request_of_a_life),
        DESCRIPTOR_TEST(without_a_supervisor_the_worker_ends),
        DESCRIPTOR_TEST(a_connection_handed_over_is_served),
        DESCRIPTOR_TEST(a_message_it_does_not_know_costs_nothing),
        DESCRIPTOR_TEST(a_new_listener_takes_the_place_of_a_lost_one),
        DESCRIPTOR_TEST(a_listener_that_was_shut_down_is_waited_for),
        DESCRIPTOR_TEST(more_slots_are_made_and_told_when_they_run_out),
        DESCRIPTOR_TEST(who_is_not_stored_is_served_though_the_worker_retires),
        DESCRIPTOR_TEST(who_is_handed_on_waits_for_a_free_descriptor),
        DESCRIPTOR_TEST(the_supervisor_can_answer_after_the_worker_has_let_go),
        DESCRIPTOR_TEST(a_worker_with_others_beside_it_takes_one_at_a_time),
        DESCRIPTOR_TEST(a_worker_that_is_awaited_says_once_that_it_gets_on),
        DESCRIPTOR_TEST(all_of_a_thousand_and_more_clients_are_answered),
        DESCRIPTOR_TEST(without_descriptors_it_waits_and_recovers),
        DESCRIPTOR_TEST(after_its_requests_it_asks_once_to_be_replaced),
        DESCRIPTOR_TEST(a_retiring_worker_finishes_what_has_begun_and_leaves_the_rest_parked),
        DESCRIPTOR_TEST(a_control_channel_that_is_none_is_an_error_and_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
