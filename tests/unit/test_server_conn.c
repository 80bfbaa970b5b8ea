/* conn: what a client gets for what it sends, and how, and what it leaves behind when it goes. */
#include "capture.h"
#include "descriptors.h"
#include "json_check.h"
#include "serving.h"

#include "base/clock.h"
#include "server/control.h"

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

enum { REPLY_SIZE = 4096, LIMIT = 1 << 20 };

/* ---- requests and their replies --------------------------------------------------------------------------------- */

enum after { OPEN, HALF_CLOSE };

struct exchange_row {
    const char *name;
    const char *sent;
    enum after after;
    bool whole_only;      /* cut in pieces, what is behind the value may come too late to be judged */
    const char *expected; /* the reply, or for a refusal its category */
};

#define OK(json) "{\"status\":\"ok\",\"result\":" json "}"

static const struct exchange_row exchange_rows[] = {
    {"an object is answered at its end", "{\"a\":1}", OPEN, false, OK("{\"a\":1}")},
    {"an object and a half-close", "{\"a\":1}", HALF_CLOSE, false, OK("{\"a\":1}")},
    {"an array", "[1,[2]]", OPEN, false, OK("[1,[2]]")},
    {"a string", "\"text\"", OPEN, false, OK("\"text\"")},
    {"a literal", "null", OPEN, false, OK("null")},
    {"a number behind which a line ends", "12\n", OPEN, false, OK("12\n")},
    {"a number at the end", "12", HALF_CLOSE, false, OK("12")},
    {"white space before the value", " \n{}", OPEN, false, OK(" \n{}")},
    {"white space behind the value", "{} \n", OPEN, true, OK("{} \n")},
    {"what else is behind is the decoder's", "{}x", OPEN, true, OK("{}x")},
    {"a value cut off is the decoder's", "{\"a\":", HALF_CLOSE, false, OK("{\"a\":")},
    {"nothing but a half-close", "", HALF_CLOSE, false, "empty_message"},
    {"nothing but white space", " \t\r\n ", HALF_CLOSE, false, "empty_message"},
    {"what begins no value", "hello", HALF_CLOSE, false, "invalid_json"},
    {"a failure of the function", "\"fail\"", OPEN, false, "processing_error"},
    {"no memory for a reply", "\"nothing\"", OPEN, false, "out_of_memory"},
};

static void check_reply(const struct exchange_row *row, const char *how, const char *reply, size_t size)
{
    char code[64] = "";
    size_t code_size;
    bool same = size == strlen(row->expected) && memcmp(reply, row->expected, size) == 0;
    bool category = size != (size_t)-1 && json_check_member(reply, size, "error", code, sizeof code, &code_size) &&
                    strcmp(code, row->expected) == 0;
    if (!same && !category) {
        fail_msg("%s, %s: %s", row->name, how, size == (size_t)-1 ? "no end" : reply);
    }
}

static void every_request_has_its_reply_whole_and_byte_by_byte(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    for (uint32_t slots = 0; slots <= 4; slots += 4) {
        capture_begin();
        struct serving *serving = serving_make(slots);
        serving_start(serving);
        for (size_t i = 0; i < sizeof exchange_rows / sizeof exchange_rows[0]; i++) {
            const struct exchange_row *row = &exchange_rows[i];
            size_t size = caller_exchange(serving, row->sent, row->after == HALF_CLOSE, reply, sizeof reply);
            check_reply(row, "whole", reply, size);
            if (!row->whole_only) {
                int client = caller_connect(serving);
                assert_true(caller_send_bytewise(client, row->sent, strlen(row->sent)));
                if (row->after == HALF_CLOSE) {
                    shutdown(client, SHUT_WR);
                }
                size = caller_read(client, reply, sizeof reply);
                close(client);
                check_reply(row, "byte by byte", reply, size);
            }
        }
        assert_true(serving_stop(serving));
        (void)capture_end();
    }
}

static void a_client_that_waits_with_no_value_begun_is_told(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.read_timeout = 2 * CLOCK_SECOND;
    serving_start(serving);
    size_t size = caller_exchange(serving, "hello", false, reply, sizeof reply);
    assert_true(serving_stop(serving));
    (void)capture_end();
    assert_in_range(size, 1, sizeof reply);
    assert_non_null(strstr(reply, "\"invalid_json\""));
}

/* ---- sizes ------------------------------------------------------------------------------------------------------ */

/* A string value of `size` bytes, NUL-terminated; the caller frees it. */
static char *make_message(size_t size)
{
    char *message = malloc(size + 1);
    assert_non_null(message);
    memset(message, 'x', size);
    message[0] = message[size - 1] = '"';
    message[size] = '\0';
    return message;
}

static void messages_up_to_the_limit_are_answered(void **state)
{
    (void)state;
    static const size_t sizes[] = {2, 65535, 65536, 65537, 131072, 200000, LIMIT - 1, LIMIT};
    static char reply[LIMIT + REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *message = make_message(sizes[i]);
        size_t size = caller_exchange(serving, message, i % 2 == 0, reply, sizeof reply);
        assert_int_equal(size, sizes[i] + sizeof OK("") - 1);
        assert_memory_equal(reply + sizeof "{\"status\":\"ok\",\"result\":" - 1, message, sizes[i]);
        free(message);
    }
    assert_true(serving_stop(serving));
}

/* Writes all of `size` bytes before it reads, as a client may that knows no other way. Returns the reply's size. */
static size_t write_then_read(int client, const char *message, size_t size, char *reply, size_t room)
{
    (void)caller_send(client, message, size);
    return caller_read(client, reply, room);
}

static void a_message_over_the_limit_is_refused_also_to_who_still_writes(void **state)
{
    (void)state;
    static const size_t sizes[] = {LIMIT + 1, LIMIT + 2, 2 * LIMIT, 16 * LIMIT};
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *message = make_message(sizes[i]);
        int client = caller_connect(serving);
        size_t size = write_then_read(client, message, sizes[i], reply, sizeof reply);
        close(client);
        free(message);
        assert_in_range(size, 1, sizeof reply);
        assert_non_null(strstr(reply, "\"message_too_large\""));
        assert_true(json_check(reply, size));
    }
    assert_int_equal(serving->answers, 0);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "message_too_large"), 4);
}

static void a_refused_client_is_not_listened_to_for_ever(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    char *message = make_message(2 * LIMIT);
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int client = caller_connect(serving);
    size_t size = write_then_read(client, message, 2 * LIMIT, reply, sizeof reply);
    assert_non_null(strstr(reply, "\"message_too_large\""));
    assert_true(json_check(reply, size));
    uint64_t start = clock_now();
    while (caller_send(client, "more", 4) && clock_now() - start < 10 * CLOCK_SECOND) {
        usleep(20000);
    }
    assert_true(clock_now() - start < 8 * CLOCK_SECOND);
    close(client);
    free(message);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* ---- slow clients ----------------------------------------------------------------------------------------------- */

struct slow_row {
    const char *name;
    const char *sent;
};

static const struct slow_row slow_rows[] = {
    {"a silent client", ""},
    {"a client that stops in the middle", "{\"a\":"},
    {"a client that sends white space", "   "},
    {"a client that leaves a number open", "12"},
};

static void who_is_late_is_told_and_sent_away(void **state)
{
    (void)state;
    enum { ROWS = sizeof slow_rows / sizeof slow_rows[0] };
    char reply[REPLY_SIZE];
    int clients[ROWS];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.read_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    uint64_t start = clock_now();
    for (size_t i = 0; i < ROWS; i++) {
        clients[i] = caller_connect(serving);
        assert_true(caller_send(clients[i], slow_rows[i].sent, strlen(slow_rows[i].sent)));
    }
    for (size_t i = 0; i < ROWS; i++) {
        size_t size = caller_read(clients[i], reply, sizeof reply);
        close(clients[i]);
        if (size == (size_t)-1 || strstr(reply, "\"connection_error\"") == NULL || !json_check(reply, size)) {
            fail_msg("%s: %s", slow_rows[i].name, reply);
        }
    }
    assert_true(clock_now() - start >= 100 * CLOCK_MS);
    assert_int_equal(serving->answers, 0);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void the_deadline_is_for_the_whole_request_not_for_each_byte(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.read_timeout = 150 * CLOCK_MS;
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "[", 1));
    struct pollfd look = {.fd = client, .events = POLLIN};
    uint64_t start = clock_now();
    while (poll(&look, 1, 20) == 0 && clock_now() - start < 5 * CLOCK_SECOND) {
        (void)caller_send(client, "1,", 2);
    }
    assert_true(clock_now() - start < 4 * CLOCK_SECOND);
    (void)!recv(client, reply, sizeof reply, 0);
    assert_non_null(strstr(reply, "\"connection_error\""));
    close(client);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void silent_clients_do_not_delay_others(void **state)
{
    (void)state;
    enum { SILENT = 200 };
    static int silent[SILENT];
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (int i = 0; i < SILENT; i++) {
        silent[i] = caller_connect(serving);
        assert_true(i % 2 == 0 || caller_send(silent[i], "{\"a\"", 4));
    }
    uint64_t start = clock_now();
    for (int i = 0; i < 50; i++) {
        assert_int_equal(caller_exchange(serving, "[1]", false, reply, sizeof reply), strlen(OK("[1]")));
    }
    assert_true(clock_now() - start < 5 * CLOCK_SECOND);
    for (int i = 0; i < SILENT; i++) { /* and they may still finish */
        if (i % 2 == 1) {
            assert_true(caller_send(silent[i], ":1}", 3));
            assert_int_equal(caller_read(silent[i], reply, sizeof reply), strlen(OK("{\"a\":1}")));
        }
        close(silent[i]);
    }
    assert_true(serving_stop(serving));
}

static void a_slow_reader_gets_all_of_a_large_reply(void **state)
{
    (void)state;
    enum { BIG = 6000000 };
    static char reply[BIG + 2];
    char other[REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "\"big 6000000\"", 13));
    size_t size = 0;
    ssize_t got;
    while ((got = recv(client, reply + size, 100000, 0)) > 0) {
        size += (size_t)got;
        if (size % 7 == 0) {
            usleep(1000);
        }
        if (size < 400000) { /* it does not stop others */
            assert_int_equal(caller_exchange(serving, "[1]", false, other, sizeof other), strlen(OK("[1]")));
        }
    }
    close(client);
    assert_int_equal(got, 0);
    assert_int_equal(size, BIG);
    for (size_t i = 0; i < BIG; i++) {
        assert_int_equal(reply[i], 'x');
    }
    assert_true(serving_stop(serving));
}

static void who_does_not_read_is_closed_at_the_deadline(void **state)
{
    (void)state;
    char byte;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.write_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "\"big 6000000\"", 13));
    struct pollfd look = {.fd = client};
    assert_int_equal(poll(&look, 1, 5000), 1); /* POLLHUP: the server has closed */
    assert_true(look.revents & POLLHUP);
    assert_int_equal(recv(client, &byte, 1, 0), 1); /* what was written before is there */
    close(client);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "ASYA_WRITE_TIMEOUT"), 1);
}

/* ---- clients that go -------------------------------------------------------------------------------------------- */

static void a_prober_that_says_nothing_is_not_worth_a_line(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (int i = 0; i < 50; i++) {
        close(caller_connect(serving));
    }
    assert_int_equal(caller_exchange(serving, "1\n", false, reply, sizeof reply), strlen(OK("1\n")));
    assert_true(serving_stop(serving));
    assert_string_equal(capture_end(), "");
}

static void who_goes_in_the_middle_gets_one_line_and_disturbs_nobody(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    static const char message[] = "{\"key\":\"value\"}";
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t cut = 1; cut < sizeof message - 1; cut++) {
        int client = caller_connect(serving);
        assert_true(caller_send(client, message, cut));
        close(client);
        assert_int_equal(caller_exchange(serving, "1\n", false, reply, sizeof reply), strlen(OK("1\n")));
    }
    assert_int_equal(serving->answers, sizeof message - 2); /* only the others */
    assert_true(serving_stop(serving));
    const char *log = capture_end();
    assert_int_equal(capture_count(log, "\n"), sizeof message - 2);
    assert_int_equal(capture_count(log, "connection_error"), sizeof message - 2);
}

static void who_goes_during_the_call_or_the_reply_disturbs_nobody(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int client = caller_connect(serving);
    assert_true(caller_send(client, "\"wait\"", 6));
    serving_await(serving);
    close(client);
    serving_release(serving);
    for (int i = 0; i < 10; i++) {
        client = caller_connect(serving);
        assert_true(caller_send(client, "\"big 6000000\"", 13));
        struct pollfd look = {.fd = client, .events = POLLIN};
        assert_int_equal(poll(&look, 1, 5000), 1); /* the reply has begun */
        close(client);
        assert_int_equal(caller_exchange(serving, "1\n", false, reply, sizeof reply), strlen(OK("1\n")));
    }
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "connection_error"), 11);
}

/* ---- slots and the scoreboard ---------------------------------------------------------------------------------- */

static void a_running_request_is_parked_and_on_the_page(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(1);
    serving_start(serving);
    int client = caller_connect(serving);
    uint64_t before = clock_now();
    assert_true(caller_send(client, "\"wait\"", 6));
    serving_await(serving);
    assert_int_equal(slot_state(&serving->board.slots[0]), SLOT_RUNNING);
    assert_int_equal(serving->board.slots[0].sequence, 1);
    assert_in_range(serving->board.slots[0].since, before, clock_now());
    assert_int_equal(serving->board.requests, 1);
    int stored = fdstore_peek(serving->fdstore.receive[0]);
    assert_true(stored >= 0);
    close(stored);
    serving_release(serving);
    assert_int_equal(caller_read(client, reply, sizeof reply), strlen(OK("\"wait\"")));
    close(client);
    serving_await_slot(serving, 0, SLOT_FREE);
    int left = 0;
    for (int i = 0; i < 5000 && (left = fdstore_peek(serving->fdstore.receive[0])) >= 0;
         i++) { /* emptied just behind */
        close(left);
        usleep(1000);
    }
    assert_int_equal(left, -EAGAIN);
    assert_int_equal(caller_exchange(serving, "1\n", false, reply, sizeof reply), strlen(OK("1\n")));
    assert_int_equal(serving->board.requests, 2);
    assert_true(serving_stop(serving));
}

static void the_page_counts_requests_failures_and_refusals(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(2);
    serving_start(serving);
    for (int i = 0; i < 3; i++) {
        (void)caller_exchange(serving, "[1]", false, reply, sizeof reply);
        (void)caller_exchange(serving, "\"fail\"", false, reply, sizeof reply);
    }
    (void)caller_exchange(serving, "", true, reply, sizeof reply);
    assert_int_equal(serving->board.requests, 6);
    assert_int_equal(serving->board.failures, 3);
    assert_int_equal(serving->board.refused, 1);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void states_follow_how_far_a_request_has_come(void **state)
{
    (void)state;
    struct serving *serving = serving_make(1);
    serving_start(serving);
    int client = caller_connect(serving);
    serving_await_slot(serving, 0, SLOT_WAITING);
    assert_true(caller_send(client, "{", 1));
    serving_await_slot(serving, 0, SLOT_READING);
    capture_begin();
    close(client);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void what_the_supervisor_has_answered_is_not_answered_again(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(1);
    serving_start(serving);
    assert_int_equal(caller_exchange(serving, "\"taken\"", false, reply, sizeof reply), 0);
    assert_int_equal(caller_exchange(serving, "1\n", false, reply, sizeof reply), strlen(OK("1\n")));
    assert_true(serving_stop(serving));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(every_request_has_its_reply_whole_and_byte_by_byte),
        DESCRIPTOR_TEST(a_client_that_waits_with_no_value_begun_is_told),
        DESCRIPTOR_TEST(messages_up_to_the_limit_are_answered),
        DESCRIPTOR_TEST(a_message_over_the_limit_is_refused_also_to_who_still_writes),
        DESCRIPTOR_TEST(a_refused_client_is_not_listened_to_for_ever),
        DESCRIPTOR_TEST(who_is_late_is_told_and_sent_away),
        DESCRIPTOR_TEST(the_deadline_is_for_the_whole_request_not_for_each_byte),
        DESCRIPTOR_TEST(silent_clients_do_not_delay_others),
        DESCRIPTOR_TEST(a_slow_reader_gets_all_of_a_large_reply),
        DESCRIPTOR_TEST(who_does_not_read_is_closed_at_the_deadline),
        DESCRIPTOR_TEST(a_prober_that_says_nothing_is_not_worth_a_line),
        DESCRIPTOR_TEST(who_goes_in_the_middle_gets_one_line_and_disturbs_nobody),
        DESCRIPTOR_TEST(who_goes_during_the_call_or_the_reply_disturbs_nobody),
        DESCRIPTOR_TEST(a_running_request_is_parked_and_on_the_page),
        DESCRIPTOR_TEST(the_page_counts_requests_failures_and_refusals),
        DESCRIPTOR_TEST(states_follow_how_far_a_request_has_come),
        DESCRIPTOR_TEST(what_the_supervisor_has_answered_is_not_answered_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
