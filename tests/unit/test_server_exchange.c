/* exchange: replies that come later, streams of events, who waits for whom; and the length prefix. */
#include "capture.h"
#include "descriptors.h"
#include "http_client.h"
#include "serving.h"

#include "base/clock.h"
#include "server/control.h"
#include "server/exchange.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { REPLY_SIZE = 4096, LIMIT = 1 << 20 };

#define OK(json) "{\"status\":\"ok\",\"result\":" json "}"
#define POST     "POST /invoke HTTP/1.1\r\nHost: a\r\n"
#define LATER    POST "Content-Length: 7\r\n\r\n\"later\""
#define HOOK     POST "Content-Length: 6\r\n\r\n\"hook\""

static struct http_client client_memory;
static struct http_response response_memory;

static void send_text(int fd, const char *text) { assert_true(caller_send(fd, text, strlen(text))); }

/* ---- the length prefix ------------------------------------------------------------------------------------------ */

static size_t put_prefix(char *target, size_t size)
{
    for (int i = 0; i < 4; i++) {
        target[i] = (char)(size >> (24 - 8 * i));
    }
    return 4;
}

/* Reads one reply with its prefix; NUL-terminated. Returns the size of its body, or (size_t)-1 if there is none. */
static size_t read_framed(int fd, char *body, size_t room)
{
    unsigned char prefix[4];
    if (recv(fd, prefix, sizeof prefix, MSG_WAITALL) != (ssize_t)sizeof prefix) {
        return (size_t)-1;
    }
    size_t size = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
    assert_true(size < room);
    if (size > 0 && recv(fd, body, size, MSG_WAITALL) != (ssize_t)size) {
        return (size_t)-1;
    }
    body[size] = '\0';
    return size;
}

static bool has_ended(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) == 0;
}

static void a_framed_message_of_any_size_is_answered_in_its_form(void **state)
{
    (void)state;
    /* with its prefix, a message may fill the first read exactly, or the buffer that grows with it */
    static const size_t sizes[] = {2,      3,      65531,  65532,  65533,  65536,     131067,    131068,
                                   131069, 131072, 262140, 262144, 524284, LIMIT - 4, LIMIT - 1, LIMIT};
    static char message[LIMIT + 8];
    static char reply[LIMIT + REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        size_t prefix = put_prefix(message, size);
        memset(message + prefix, 'x', size);
        message[prefix] = message[prefix + size - 1] = '"';
        for (int apart = 0; apart < 2; apart++) { /* prefix and body may be written one by one */
            int fd = caller_connect(serving);
            if (apart == 1) {
                assert_true(caller_send(fd, message, prefix));
                usleep(1000);
            }
            size_t from = apart == 1 ? prefix : 0;
            assert_true(caller_send(fd, message + from, prefix + size - from));
            if (read_framed(fd, reply, sizeof reply) != size + sizeof OK("") - 1) {
                fail_msg("%zu bytes, %s: no reply", size, apart == 1 ? "prefix first" : "at once");
            }
            assert_memory_equal(reply + sizeof "{\"status\":\"ok\",\"result\":" - 1, message + prefix, size);
            assert_true(has_ended(fd));
            close(fd);
        }
    }
    assert_true(serving_stop(serving));
}

struct framed_row {
    const char *name;
    const char *bytes;
    size_t size;
    bool half_close;
    uint32_t calls;
    const char *expected; /* stands in the body of the reply */
};

static const struct framed_row framed_rows[] = {
    {"a message", "\0\0\0\3[1]", 7, false, 1, OK("[1]")},
    {"a message and a half-close", "\0\0\0\3[1]", 7, true, 1, OK("[1]")},
    {"bytes behind the message", "\0\0\0\3[1]more", 11, false, 1, OK("[1]")},
    {"two messages, of which the first is answered", "\0\0\0\3[1]\0\0\0\3[2]", 14, false, 1, OK("[1]")},
    {"a failure of the function", "\0\0\0\6\"fail\"", 10, false, 1, "processing_error"},
    {"no memory for a reply", "\0\0\0\11\"nothing\"", 13, false, 1, "[{\"error\":\"processing_error\""},
    {"a length one above the limit", "\0\x10\0\1", 4, false, 0, "[{\"error\":\"msg_parsing_error\""},
    {"the greatest length that is told by its first byte", "\x08\xff\xff\xff", 4, false, 0,
     "[{\"error\":\"msg_parsing_error\""},
    {"a length above the limit and bytes", "\0\x20\0\0[1,2,3]", 11, true, 0, "[{\"error\":\"msg_parsing_error\""},
    {"a prefix cut off", "\0\0\0", 3, true, 0, "[{\"error\":\"connection_error\""},
    {"a message cut off", "\0\0\0\3[1", 6, true, 0, "[{\"error\":\"connection_error\""},
};

static void every_framed_message_has_its_reply_whole_and_byte_by_byte(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    for (size_t i = 0; i < 2 * (sizeof framed_rows / sizeof framed_rows[0]); i++) {
        const struct framed_row *row = &framed_rows[i / 2];
        uint32_t before = serving->answers;
        int fd = caller_connect(serving);
        if (i % 2 == 0) {
            (void)caller_send(fd, row->bytes, row->size);
        } else {
            (void)caller_send_bytewise(fd, row->bytes, row->size);
        }
        if (row->half_close) {
            shutdown(fd, SHUT_WR);
        }
        size_t size = read_framed(fd, reply, sizeof reply);
        close(fd);
        if (size == (size_t)-1 || strstr(reply, row->expected) == NULL || serving->answers - before != row->calls) {
            fail_msg("%s, %s: %s, %u calls", row->name, i % 2 == 0 ? "whole" : "byte by byte",
                     size == (size_t)-1 ? "no reply" : reply, serving->answers - before);
        }
    }
    assert_true(serving_stop(serving));
    (void)capture_end();
}

static void who_is_late_with_a_framed_message_is_told_in_its_form(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.read_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    int fd = caller_connect(serving);
    assert_true(caller_send(fd, "\0\0\0\3[1", 6));
    assert_int_not_equal(read_framed(fd, reply, sizeof reply), (size_t)-1);
    assert_non_null(strstr(reply, "connection_error"));
    close(fd);
    assert_int_equal(serving->answers, 0);
    assert_true(serving_stop(serving));
    (void)capture_end();
}

/* ---- replies that come later ------------------------------------------------------------------------------------ */

/* Client `number` sends a message of its own; where slots tell, it has arrived when this returns. */
static int begin_later(struct serving *serving, uint32_t number)
{
    char text[64];
    int fd = caller_connect(serving);
    (void)snprintf(text, sizeof text, "\"later %u\"", number);
    send_text(fd, text);
    serving_await_slot(serving, number, number < serving->config.concurrency ? SLOT_RUNNING : SLOT_READING);
    return fd;
}

static void expect_later(int fd, uint32_t number)
{
    char reply[REPLY_SIZE];
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted, OK("\"later %u\""), number);
    assert_int_equal(caller_read(fd, reply, sizeof reply), strlen(wanted));
    assert_string_equal(reply, wanted);
    close(fd);
}

static void as_many_run_as_may_and_the_others_wait_in_order(void **state)
{
    (void)state;
    enum { CLIENTS = 150 };
    static const uint32_t capacities[] = {1, 2, 100};
    static int clients[CLIENTS];
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        struct serving *serving = serving_make(CLIENTS);
        serving->config.concurrency = capacities[i];
        serving->config.alone = true; /* a worker that is alone takes them all and makes them wait */
        serving_start(serving);
        for (uint32_t j = 0; j < CLIENTS; j++) {
            clients[j] = begin_later(serving, j);
        }
        assert_int_equal(serving->held_count, capacities[i]);
        assert_int_equal(serving->board.running, capacities[i]);
        for (uint32_t j = 0; j < CLIENTS; j++) {
            serving_await_held(serving, j + 1);
            char wanted[HELD_BYTES];
            (void)snprintf(wanted, sizeof wanted, "\"later %u\"", j); /* the one that came next */
            assert_memory_equal(serving->held[j].message, wanted, strlen(wanted));
            serving_complete(serving, j);
            expect_later(clients[j], j);
        }
        assert_int_equal(serving->board.running, 0);
        assert_true(serving_stop(serving));
    }
}

static void replies_may_come_in_any_order(void **state)
{
    (void)state;
    enum { CLIENTS = 20 };
    int clients[CLIENTS];
    struct serving *serving = serving_make(CLIENTS);
    serving->config.concurrency = CLIENTS;
    serving_start(serving);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = begin_later(serving, i);
    }
    for (uint32_t i = CLIENTS; i > 0; i--) {
        serving_complete(serving, i - 1);
        expect_later(clients[i - 1], i - 1);
    }
    assert_true(serving_stop(serving));
}

static void a_full_service_leaves_connections_to_other_workers(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving); /* not alone */
    int first = begin_later(serving, 0);
    int second = caller_connect(serving);
    send_text(second, "[1]");
    usleep(20000);
    int other = accept4(serving->listener.fd, NULL, NULL, SOCK_CLOEXEC); /* the other worker */
    assert_true(other >= 0);
    char got[8];
    assert_int_equal(recv(other, got, sizeof got, 0), 3);
    close(other);
    close(second);
    serving_complete(serving, 0);
    expect_later(first, 0);
    char reply[REPLY_SIZE];
    assert_int_equal(caller_exchange(serving, "[2]", false, reply, sizeof reply), strlen(OK("[2]")));
    assert_true(serving_stop(serving));
}

static void one_connection_has_one_request_at_a_time(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving->config.concurrency = 4;
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    for (int i = 0; i < 3; i++) {
        send_text(fd, LATER);
    }
    for (uint32_t i = 0; i < 3; i++) {
        serving_await_held(serving, i + 1);
        usleep(5000);
        assert_int_equal(serving->held_count, i + 1);
        serving_complete(serving, i);
        assert_true(http_client_read(&client_memory, false, &response_memory));
        assert_string_equal(response_memory.body, OK("\"later\""));
    }
    close(fd);
    assert_true(serving_stop(serving));
}

static void who_sends_ahead_does_not_pass_those_who_wait(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving->config.alone = true;
    serving_start(serving);
    int greedy = caller_connect(serving);
    http_client_begin(&client_memory, greedy);
    send_text(greedy, LATER LATER LATER);
    serving_await_held(serving, 1);
    int other = caller_connect(serving);
    send_text(other, "\"later other\"");
    serving_await_slot(serving, 1, SLOT_READING);
    serving_complete(serving, 0);
    serving_await_held(serving, 2);
    assert_memory_equal(serving->held[1].message, "\"later other\"", 13);
    for (uint32_t i = 1; i < 4; i++) {
        serving_await_held(serving, i + 1);
        serving_complete(serving, i);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(http_client_read(&client_memory, false, &response_memory));
    }
    close(greedy);
    close(other);
    assert_true(serving_stop(serving));
}

/* Answers on the spot what the function has begun as a later reply. */
static enum service_status reply_within(struct serving *serving, const struct request *request, struct reply *reply)
{
    struct reply own = {.body = buffer_make(LIMIT), .status = 200, .succeeded = true};
    (void)reply;
    atomic_fetch_add(&serving->answers, 1);
    assert_null(exchange_data(request->conn));
    exchange_set_data(request->conn, serving);
    assert_ptr_equal(exchange_data(request->conn), serving);
    assert_int_equal(buffer_append(&own.body, "null", 4), BUFFER_OK);
    exchange_reply(request->conn, &own);
    return SERVICE_LATER;
}

static void a_later_reply_may_come_at_once_however_many_requests_follow(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    struct serving *serving = serving_make(4);
    serving->hook = reply_within;
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    for (int i = 0; i < COUNT; i += 100) {
        for (int j = 0; j < 100; j++) {
            send_text(fd, HOOK);
        }
        for (int j = 0; j < 100; j++) {
            assert_true(http_client_read(&client_memory, false, &response_memory));
            assert_string_equal(response_memory.body, "null");
        }
    }
    close(fd);
    assert_int_equal(serving->answers, COUNT);
    assert_true(serving_stop(serving));
}

/* Notes how deep the stack is. */
static _Atomic uintptr_t deepest;

static enum service_status reply_within_and_look(struct serving *serving, const struct request *request,
                                                 struct reply *reply)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    deepest = deepest == 0 || here < deepest ? here : deepest;
    return reply_within(serving, request, reply);
}

static void requests_that_wait_in_a_row_take_no_stack(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    uintptr_t depths[2];
    struct serving *serving = serving_make(4);
    serving->hook = reply_within_and_look;
    serving_start(serving);
    for (int round = 0; round < 2; round++) {
        int fd = caller_connect(serving);
        char *bytes = malloc(COUNT * (sizeof HOOK - 1) + 1);
        assert_non_null(bytes);
        size_t size = 0;
        for (int i = 0; i < (round == 0 ? 2 : COUNT); i++) {
            memcpy(bytes + size, HOOK, sizeof HOOK);
            size += sizeof HOOK - 1;
        }
        http_client_begin(&client_memory, fd);
        deepest = 0;
        assert_true(caller_send(fd, bytes, size));
        for (int i = 0; i < (round == 0 ? 2 : COUNT); i++) {
            assert_true(http_client_read(&client_memory, false, &response_memory));
        }
        depths[round] = deepest;
        free(bytes);
        close(fd);
    }
    assert_true(serving_stop(serving));
    assert_true(depths[0] > depths[1] ? depths[0] - depths[1] < 16384 : depths[1] - depths[0] < 16384);
}

/* Answers the held exchange while it has a message of its own in hand. */
static enum service_status reply_to_another(struct serving *serving, const struct request *request, struct reply *reply)
{
    struct reply other = {.body = buffer_make(LIMIT), .status = 200, .succeeded = true};
    assert_int_equal(buffer_append(&other.body, "null", 4), BUFFER_OK);
    exchange_reply(serving->held[0].conn, &other);
    reply->succeeded = buffer_append(&reply->body, request->message, request->size) == BUFFER_OK;
    return SERVICE_DONE;
}

static void a_message_stays_in_place_while_another_exchange_is_answered(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving->config.concurrency = 2;
    serving->hook = reply_to_another;
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    send_text(fd, LATER);
    serving_await_held(serving, 1);
    send_text(fd, POST "Content-Length: 3\r\n\r\n[2]"); /* will be read once the first is answered */
    assert_int_equal(caller_exchange(serving, "\"hook and more\"", false, reply, sizeof reply), 15);
    assert_string_equal(reply, "\"hook and more\"");
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_string_equal(response_memory.body, "null");
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_string_equal(response_memory.body, OK("[2]"));
    close(fd);
    assert_true(serving_stop(serving));
}

static void look_whether_gone(struct serving *serving, void *argument)
{
    *(bool *)argument = exchange_is_gone(serving->held[0].conn);
}

static void a_client_that_goes_before_its_later_reply_is_noticed_and_disturbs_nobody(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    bool gone = true;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_later(serving, 0);
    serving_do(serving, look_whether_gone, &gone);
    assert_false(gone);
    shutdown(fd, SHUT_WR); /* it still reads */
    serving_do(serving, look_whether_gone, &gone);
    assert_false(gone);
    close(fd);
    serving_do(serving, look_whether_gone, &gone);
    assert_true(gone);
    serving_complete(serving, 0);
    assert_int_equal(caller_exchange(serving, "[1]", false, reply, sizeof reply), strlen(OK("[1]")));
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "\n"), 1);
}

/* As the supervisor: answers on a duplicate, then says so. */
static void answer_instead(struct serving *serving, uint32_t slot, enum slot_state from, const char *text)
{
    int stored = fdstore_peek(serving->fdstore.receive[slot]);
    assert_true(stored >= 0);
    assert_true(slot_move(&serving->board.slots[slot], from, SLOT_ANSWERED));
    send_text(stored, text);
    close(stored);
}

static void what_the_supervisor_has_answered_is_not_answered_later(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    bool gone = false;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_later(serving, 0);
    answer_instead(serving, 0, SLOT_RUNNING, "instead");
    serving_do(serving, look_whether_gone, &gone);
    assert_true(gone);
    serving_complete(serving, 0);
    assert_int_equal(caller_read(fd, reply, sizeof reply), 7);
    assert_string_equal(reply, "instead");
    close(fd);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_int_equal(caller_exchange(serving, "[1]", false, reply, sizeof reply), strlen(OK("[1]")));
    assert_true(serving_stop(serving));
}

static void a_drain_waits_for_later_replies(void **state)
{
    (void)state;
    for (int retire = 0; retire < 2; retire++) {
        struct serving *serving = serving_make(4);
        serving_start(serving);
        int fd = begin_later(serving, 0);
        (void)control_send(serving->control, retire ? CONTROL_RETIRE : CONTROL_DRAIN, NULL, 0);
        usleep(20000);
        serving_complete(serving, 0);
        expect_later(fd, 0);
        assert_true(serving_finish(serving));
    }
}

static void without_a_supervisor_connections_are_closed_whatever_is_to_come_later(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving->config.alone = true;
    serving_start(serving);
    int running = begin_later(serving, 0);
    int waiting = begin_later(serving, 1);
    close(serving->control);
    serving->control = -1;
    assert_true(serving_join(serving));
    assert_int_equal(caller_read(running, reply, sizeof reply), 0);
    assert_int_equal(caller_read(waiting, reply, sizeof reply), 0);
    close(running);
    close(waiting);
    serving_free(serving);
}

/* ---- streams ---------------------------------------------------------------------------------------------------- */

/* What is done to the first held exchange, and how it went. */
struct stream_step {
    const char *name; /* of an event; NULL: begins the stream */
    const char *json;
    size_t filler; /* instead of `json`: a string of so many bytes */
    bool went_well;
    size_t pending; /* afterwards */
};

static void take_step(struct serving *serving, void *argument)
{
    struct stream_step *step = argument;
    struct conn *conn = serving->held[0].conn;
    if (step->name == NULL) {
        step->went_well = exchange_stream(conn);
    } else if (step->filler > 0) {
        char *text = malloc(step->filler);
        assert_non_null(text);
        memset(text, 'x', step->filler);
        text[0] = text[step->filler - 1] = '"';
        step->went_well = exchange_event(conn, view_of(step->name), (struct view){text, step->filler});
        free(text);
    } else {
        step->went_well = exchange_event(conn, view_of(step->name), view_of(step->json));
    }
    step->pending = exchange_pending(conn);
}

static bool stream_begin(struct serving *serving)
{
    struct stream_step step = {0};
    serving_do(serving, take_step, &step);
    return step.went_well;
}

static bool stream_event(struct serving *serving, const char *name, const char *json)
{
    struct stream_step step = {.name = name, .json = json};
    serving_do(serving, take_step, &step);
    return step.went_well;
}

/* Returns what is pending afterwards, or (size_t)-1 if it failed. */
static size_t stream_filler(struct serving *serving, size_t size)
{
    struct stream_step step = {.name = "downstream", .filler = size};
    serving_do(serving, take_step, &step);
    return step.went_well ? step.pending : (size_t)-1;
}

static void end_complete(struct serving *serving, void *unused)
{
    (void)unused;
    exchange_stream_end(serving->held[0].conn, true);
}

static void end_cut(struct serving *serving, void *unused)
{
    (void)unused;
    exchange_stream_end(serving->held[0].conn, false);
}

/* A client whose request is held, with a stream begun and its head read. */
static int begin_stream(struct serving *serving)
{
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    send_text(fd, LATER);
    serving_await_held(serving, 1);
    assert_true(stream_begin(serving));
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_int_equal(response_memory.status, 200);
    assert_true(response_memory.chunked);
    assert_true(response_memory.close);
    assert_string_equal(response_memory.type, "text/event-stream");
    return fd;
}

static void expect_event(const char *wanted)
{
    char text[1024];
    size_t size;
    assert_true(http_client_chunk(&client_memory, text, sizeof text, &size));
    assert_string_equal(text, wanted);
}

static void each_event_arrives_before_the_next_is_sent(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_stream(serving);
    serving_await_slot(serving, 0, SLOT_STREAMING);
    for (int i = 0; i < 100; i++) {
        char json[32];
        char wanted[64];
        (void)snprintf(json, sizeof json, "{\"n\":%d}", i);
        (void)snprintf(wanted, sizeof wanted, "event: downstream\ndata: {\"n\":%d}\n\n", i);
        assert_true(stream_event(serving, "downstream", json));
        expect_event(wanted);
    }
    assert_true(stream_event(serving, "done", "{}"));
    expect_event("event: done\ndata: {}\n\n");
    serving_do(serving, end_complete, NULL);
    expect_event("");
    assert_true(http_client_ends(&client_memory));
    close(fd);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_int_equal(serving->board.running, 0);
    assert_true(serving_stop(serving));
}

static void a_stream_that_is_whole_ends_with_a_last_chunk_and_a_cut_one_does_not(void **state)
{
    (void)state;
    static const char expected[] = "HTTP/1.1 200 OK\r\n"
                                   "Content-Type: text/event-stream\r\n"
                                   "Cache-Control: no-cache\r\n"
                                   "Connection: close\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n"
                                   "1b\r\nevent: upstream\ndata: [1]\n\n\r\n"
                                   "0\r\n\r\n";
    for (int cut = 0; cut < 2; cut++) {
        char reply[REPLY_SIZE];
        struct serving *serving = serving_make(4);
        serving_start(serving);
        int fd = caller_connect(serving);
        send_text(fd, LATER);
        serving_await_held(serving, 1);
        assert_true(stream_begin(serving));
        assert_true(stream_event(serving, "upstream", "[1]"));
        serving_do(serving, cut ? end_cut : end_complete, NULL);
        size_t size = caller_read(fd, reply, sizeof reply);
        assert_int_equal(size, sizeof expected - 1 - (cut ? 5 : 0));
        assert_memory_equal(reply, expected, size);
        close(fd);
        assert_true(serving_stop(serving));
    }
}

static void a_client_of_http_1_0_gets_its_stream_to_the_end_of_the_connection(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving);
    send_text(fd, "POST /invoke HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n\"later\"");
    serving_await_held(serving, 1);
    assert_true(stream_begin(serving));
    assert_true(stream_event(serving, "downstream", "[1]"));
    serving_do(serving, end_complete, NULL);
    assert_int_not_equal(caller_read(fd, reply, sizeof reply), (size_t)-1);
    const char *body = strstr(reply, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body + 4, "event: downstream\ndata: [1]\n\n");
    assert_null(strstr(reply, "chunked"));
    assert_non_null(strstr(reply, "Connection: close"));
    close(fd);
    assert_true(serving_stop(serving));
}

static void only_http_has_streams(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {{"\"later\"", 7}, {"\0\0\0\7\"later\"", 11}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char reply[REPLY_SIZE];
        struct serving *serving = serving_make(4);
        serving_start(serving);
        int fd = caller_connect(serving);
        assert_true(caller_send(fd, rows[i].bytes, rows[i].size));
        serving_await_held(serving, 1);
        assert_false(stream_begin(serving));
        serving_complete(serving, 0); /* but it may be answered */
        size_t size = caller_read(fd, reply, sizeof reply);
        assert_int_equal(size, sizeof OK("\"later\"") - 1 + (i == 0 ? 0 : 4));
        close(fd);
        assert_true(serving_stop(serving));
    }
}

/* Reads chunks until the last one; returns the bytes of data, or (size_t)-1 for a stream that was cut. */
static size_t read_stream(uint32_t *ret_events)
{
    static char text[300000];
    size_t total = 0;
    size_t size;
    *ret_events = 0;
    for (;;) {
        if (!http_client_chunk(&client_memory, text, sizeof text, &size)) {
            return (size_t)-1;
        }
        if (size == 0) {
            return total;
        }
        static const char begin[] = "event: downstream\ndata: \"";
        assert_memory_equal(text, begin, sizeof begin - 1);
        assert_memory_equal(text + size - 3, "\"\n\n", 3);
        for (size_t i = sizeof begin - 1; i < size - 3; i++) {
            assert_int_equal(text[i], 'x');
        }
        total += size - (sizeof begin - 2) - 2;
        ++*ret_events;
    }
}

static void await_resumed(const struct serving *serving, uint32_t count)
{
    for (int i = 0; i < 5000 && serving->resumed < count; i++) {
        usleep(1000);
    }
    assert_int_equal(serving->resumed, count);
}

static void who_reads_slowly_makes_events_wait_and_the_service_is_told_when_they_are_out(void **state)
{
    (void)state;
    enum { EVENT = 200000, EVENTS = 10 };
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_stream(serving);
    size_t pending = 0;
    for (int i = 0; i < EVENTS; i++) {
        size_t now = stream_filler(serving, EVENT);
        assert_true(now != (size_t)-1 && now >= pending);
        pending = now;
    }
    assert_true(pending > 0);
    assert_int_equal(serving->resumed, 0);
    /* reads until nothing waits: everything that was sent before resume() is called */
    static char text[EVENT + 1000];
    size_t size;
    for (int i = 0; i < EVENTS; i++) {
        assert_true(http_client_chunk(&client_memory, text, sizeof text, &size));
        assert_int_equal(size, EVENT + strlen("event: downstream\ndata: \n\n"));
    }
    await_resumed(serving, 1);
    assert_int_equal(stream_filler(serving, 100), 0);
    serving_do(serving, end_complete, NULL);
    uint32_t events;
    assert_int_equal(read_stream(&events), 100);
    assert_true(http_client_ends(&client_memory));
    close(fd);
    assert_true(serving_stop(serving));
}

static void the_end_of_a_stream_waits_for_the_events_before_it(void **state)
{
    (void)state;
    enum { EVENT = 200000, EVENTS = 10 };
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_stream(serving);
    for (int i = 0; i < EVENTS; i++) {
        assert_int_not_equal(stream_filler(serving, EVENT), (size_t)-1);
    }
    serving_do(serving, end_complete, NULL);
    assert_int_equal(serving->board.running, 0); /* the service is done with it */
    char reply[REPLY_SIZE];
    assert_int_equal(caller_exchange(serving, "[1]", false, reply, sizeof reply), strlen(OK("[1]")));
    uint32_t events;
    assert_int_equal(read_stream(&events), EVENT * EVENTS);
    assert_int_equal(events, EVENTS);
    assert_true(http_client_ends(&client_memory));
    close(fd);
    assert_int_equal(serving->resumed, 0);
    assert_true(serving_stop(serving));
}

/* Cuts the held stream while it has a message of its own in hand. */
static enum service_status cut_another(struct serving *serving, const struct request *request, struct reply *reply)
{
    end_cut(serving, NULL);
    reply->succeeded = buffer_append(&reply->body, request->message, request->size) == BUFFER_OK;
    return SERVICE_DONE;
}

/* Only one of the two buffers can be kept for the next replies; with sanitizers this finds one that is lost. */
static void a_stream_that_is_cut_while_another_is_answered_loses_no_memory(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving->config.concurrency = 2;
    serving->hook = cut_another;
    serving_start(serving);
    int fd = begin_stream(serving);
    for (int i = 0; i < 10; i++) { /* more than a socket holds: the rest waits */
        assert_int_not_equal(stream_filler(serving, 200000), (size_t)-1);
    }
    assert_int_equal(caller_exchange(serving, "\"hook\"", false, reply, sizeof reply), 6);
    assert_string_equal(reply, "\"hook\"");
    close(fd);
    assert_true(serving_stop(serving));
}

static void who_does_not_read_its_stream_in_time_is_cut_off(void **state)
{
    (void)state;
    bool gone = false;
    uint32_t events;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.write_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    int fd = begin_stream(serving);
    for (int i = 0; i < 10; i++) {
        assert_int_not_equal(stream_filler(serving, 200000), (size_t)-1);
    }
    await_resumed(serving, 1);
    serving_do(serving, look_whether_gone, &gone);
    assert_true(gone);
    assert_false(stream_event(serving, "downstream", "[1]"));
    serving_do(serving, end_complete, NULL); /* what it takes for complete is not */
    assert_int_equal(read_stream(&events), (size_t)-1);
    close(fd);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "ASYA_WRITE_TIMEOUT"), 1);
}

/* It takes all it is given, but each time only after a while that is well within the limit. */
static void the_times_in_which_a_stream_waits_add_up(void **state)
{
    (void)state;
    enum { ROUNDS = 40 };
    static char bytes[1 << 18];
    bool gone = false;
    int round = 0;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.write_timeout = 500 * CLOCK_MS;
    serving_start(serving);
    int fd = begin_stream(serving);
    for (; round < ROUNDS && !gone; round++) {
        uint32_t resumed = serving->resumed;
        for (int i = 0; i < 4 && stream_filler(serving, 200000) != (size_t)-1; i++) {
        }
        (void)poll(NULL, 0, 50);
        while (serving->resumed == resumed) { /* until it has all, or has been given up */
            if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == 0) {
                break;
            }
        }
        serving_do(serving, look_whether_gone, &gone);
    }
    assert_true(gone);
    assert_in_range(round, 2, ROUNDS - 1);
    serving_do(serving, end_cut, NULL);
    close(fd);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "ASYA_WRITE_TIMEOUT"), 1);
}

static void the_time_to_read_also_ends_behind_the_end_of_a_stream(void **state)
{
    (void)state;
    uint32_t events;
    capture_begin();
    struct serving *serving = serving_make(4);
    serving->config.write_timeout = 100 * CLOCK_MS;
    serving_start(serving);
    int fd = begin_stream(serving);
    for (int i = 0; i < 10; i++) {
        assert_int_not_equal(stream_filler(serving, 200000), (size_t)-1);
    }
    serving_do(serving, end_complete, NULL);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_int_equal(read_stream(&events), (size_t)-1);
    close(fd);
    assert_int_equal(serving->resumed, 0); /* the service had let go */
    assert_true(serving_stop(serving));
    assert_int_equal(capture_count(capture_end(), "ASYA_WRITE_TIMEOUT"), 1);
}

static void a_client_that_leaves_its_stream_is_noticed_while_nothing_is_sent(void **state)
{
    (void)state;
    bool gone = false;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_stream(serving);
    shutdown(fd, SHUT_WR); /* that is not leaving */
    assert_true(stream_event(serving, "downstream", "[1]"));
    expect_event("event: downstream\ndata: [1]\n\n");
    assert_int_equal(serving->resumed, 0);
    close(fd);
    await_resumed(serving, 1);
    serving_do(serving, look_whether_gone, &gone);
    assert_true(gone);
    assert_false(stream_event(serving, "downstream", "[1]"));
    serving_do(serving, end_cut, NULL);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
}

static void a_client_that_leaves_while_events_wait_is_noticed(void **state)
{
    (void)state;
    bool gone = false;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_stream(serving);
    for (int i = 0; i < 10; i++) {
        assert_int_not_equal(stream_filler(serving, 200000), (size_t)-1);
    }
    close(fd);
    await_resumed(serving, 1);
    serving_do(serving, look_whether_gone, &gone);
    assert_true(gone);
    serving_do(serving, end_cut, NULL);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
}

static void end_at_once(struct serving *serving, struct conn *conn)
{
    (void)serving;
    exchange_stream_end(conn, false);
}

static void a_service_may_end_a_stream_from_within_resume(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    for (int timed_out = 0; timed_out < 2; timed_out++) {
        struct serving *serving = serving_make(4);
        serving->config.write_timeout = timed_out ? 100 * CLOCK_MS : 10 * CLOCK_SECOND;
        serving->on_resume = end_at_once;
        serving_start(serving);
        int fd = begin_stream(serving);
        if (timed_out) {
            for (int i = 0; i < 10; i++) {
                assert_int_not_equal(stream_filler(serving, 200000), (size_t)-1);
            }
        } else {
            close(fd);
        }
        serving_await_slot(serving, 0, SLOT_FREE);
        assert_int_equal(caller_exchange(serving, "[1]", false, reply, sizeof reply), strlen(OK("[1]")));
        assert_int_equal(serving->board.running, 0);
        if (timed_out) {
            close(fd);
        }
        assert_true(serving_stop(serving));
    }
    (void)capture_end();
}

static void a_stream_the_supervisor_has_cut_is_not_added_to(void **state)
{
    (void)state;
    uint32_t events;
    bool gone = false;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_stream(serving);
    assert_true(stream_event(serving, "downstream", "\"x\""));
    assert_true(slot_move(&serving->board.slots[0], SLOT_STREAMING, SLOT_ANSWERED));
    serving_do(serving, look_whether_gone, &gone);
    assert_true(gone);
    assert_false(stream_event(serving, "downstream", "\"x\""));
    serving_do(serving, end_complete, NULL);
    assert_int_equal(read_stream(&events), (size_t)-1);
    assert_int_equal(events, 1);
    close(fd);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
}

static void a_request_the_supervisor_has_answered_gets_no_stream(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = caller_connect(serving);
    send_text(fd, LATER);
    serving_await_held(serving, 1);
    answer_instead(serving, 0, SLOT_RUNNING, "instead");
    assert_false(stream_begin(serving));
    assert_false(stream_event(serving, "downstream", "[1]"));
    serving_do(serving, end_cut, NULL);
    assert_int_equal(caller_read(fd, reply, sizeof reply), 7);
    close(fd);
    serving_await_slot(serving, 0, SLOT_FREE);
    assert_true(serving_stop(serving));
}

static void a_drain_waits_for_streams(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    serving_start(serving);
    int fd = begin_stream(serving);
    (void)control_send(serving->control, CONTROL_DRAIN, NULL, 0);
    usleep(20000);
    assert_true(stream_event(serving, "done", "{}"));
    expect_event("event: done\ndata: {}\n\n");
    serving_do(serving, end_complete, NULL);
    expect_event("");
    assert_true(http_client_ends(&client_memory));
    close(fd);
    assert_true(serving_finish(serving));
}

/* ---- streams of a function on the server's thread --------------------------------------------------------------- */

enum { FLUSH_EVENTS = 20, FLUSH_SIZE = 100000 };

static _Atomic bool flush_failed;
static _Atomic bool interrupted;

/* Sends events and waits after each until it is out, as a generator does. */
static enum service_status flush_each(struct serving *serving, const struct request *request, struct reply *reply)
{
    static char text[FLUSH_SIZE];
    (void)serving;
    (void)reply;
    memset(text, 'x', sizeof text);
    text[0] = text[sizeof text - 1] = '"';
    bool well = exchange_stream(request->conn);
    for (int i = 0; well && i < FLUSH_EVENTS; i++) {
        well = exchange_event(request->conn, view_of("downstream"), (struct view){text, sizeof text});
        while (well && exchange_pending(request->conn) > 0) {
            well = exchange_flush(request->conn);
            interrupted = interrupted || (well && exchange_pending(request->conn) > 0);
        }
    }
    flush_failed = !well;
    exchange_stream_end(request->conn, well);
    return SERVICE_LATER;
}

static int begin_flush(struct serving *serving)
{
    flush_failed = false;
    interrupted = false;
    serving->hook = flush_each;
    serving_start(serving);
    int fd = caller_connect(serving);
    http_client_begin(&client_memory, fd);
    send_text(fd, HOOK);
    assert_true(http_client_read(&client_memory, false, &response_memory));
    assert_true(response_memory.chunked);
    return fd;
}

static void a_function_waits_until_its_events_are_out(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    uint32_t events;
    struct serving *serving = serving_make(4);
    int fd = begin_flush(serving);
    usleep(20000);
    assert_int_equal(read_stream(&events), FLUSH_EVENTS * FLUSH_SIZE);
    assert_int_equal(events, FLUSH_EVENTS);
    assert_true(http_client_ends(&client_memory));
    close(fd);
    assert_int_equal(caller_exchange(serving, "[1]", false, reply, sizeof reply), strlen(OK("[1]")));
    assert_false(flush_failed);
    assert_int_equal(serving->resumed, 0);
    assert_true(serving_stop(serving));
}

static void a_function_whose_client_goes_or_does_not_read_is_told(void **state)
{
    (void)state;
    char reply[REPLY_SIZE];
    capture_begin();
    for (int goes = 0; goes < 2; goes++) {
        uint32_t events;
        struct serving *serving = serving_make(4);
        serving->config.write_timeout = goes ? 10 * CLOCK_SECOND : 100 * CLOCK_MS;
        int fd = begin_flush(serving);
        if (goes) {
            close(fd);
        }
        serving_await_slot(serving, 0, SLOT_FREE);
        assert_true(flush_failed);
        if (!goes) {
            assert_int_equal(read_stream(&events), (size_t)-1);
            close(fd);
        }
        assert_int_equal(caller_exchange(serving, "[1]", false, reply, sizeof reply), strlen(OK("[1]")));
        assert_true(serving_stop(serving));
    }
    (void)capture_end();
}

static void on_signal(int number) { (void)number; }

static void a_signal_lets_the_caller_of_flush_look_around(void **state)
{
    (void)state;
    uint32_t events;
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    struct serving *serving = serving_make(4);
    int fd = begin_flush(serving);
    for (int i = 0; i < 2000 && !interrupted; i++) {
        pthread_kill(serving->thread, SIGUSR1);
        usleep(2000);
    }
    assert_true(interrupted);
    assert_int_equal(read_stream(&events), FLUSH_EVENTS * FLUSH_SIZE);
    close(fd);
    assert_true(serving_stop(serving));
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(a_framed_message_of_any_size_is_answered_in_its_form),
        DESCRIPTOR_TEST(every_framed_message_has_its_reply_whole_and_byte_by_byte),
        DESCRIPTOR_TEST(who_is_late_with_a_framed_message_is_told_in_its_form),
        DESCRIPTOR_TEST(as_many_run_as_may_and_the_others_wait_in_order),
        DESCRIPTOR_TEST(replies_may_come_in_any_order),
        DESCRIPTOR_TEST(a_full_service_leaves_connections_to_other_workers),
        DESCRIPTOR_TEST(one_connection_has_one_request_at_a_time),
        DESCRIPTOR_TEST(who_sends_ahead_does_not_pass_those_who_wait),
        DESCRIPTOR_TEST(a_later_reply_may_come_at_once_however_many_requests_follow),
        DESCRIPTOR_TEST(requests_that_wait_in_a_row_take_no_stack),
        DESCRIPTOR_TEST(a_message_stays_in_place_while_another_exchange_is_answered),
        DESCRIPTOR_TEST(a_client_that_goes_before_its_later_reply_is_noticed_and_disturbs_nobody),
        DESCRIPTOR_TEST(what_the_supervisor_has_answered_is_not_answered_later),
        DESCRIPTOR_TEST(a_drain_waits_for_later_replies),
        DESCRIPTOR_TEST(without_a_supervisor_connections_are_closed_whatever_is_to_come_later),
        DESCRIPTOR_TEST(each_event_arrives_before_the_next_is_sent),
        DESCRIPTOR_TEST(a_stream_that_is_whole_ends_with_a_last_chunk_and_a_cut_one_does_not),
        DESCRIPTOR_TEST(a_client_of_http_1_0_gets_its_stream_to_the_end_of_the_connection),
        DESCRIPTOR_TEST(only_http_has_streams),
        DESCRIPTOR_TEST(who_reads_slowly_makes_events_wait_and_the_service_is_told_when_they_are_out),
        DESCRIPTOR_TEST(the_end_of_a_stream_waits_for_the_events_before_it),
        DESCRIPTOR_TEST(a_stream_that_is_cut_while_another_is_answered_loses_no_memory),
        DESCRIPTOR_TEST(who_does_not_read_its_stream_in_time_is_cut_off),
        DESCRIPTOR_TEST(the_time_to_read_also_ends_behind_the_end_of_a_stream),
        DESCRIPTOR_TEST(the_times_in_which_a_stream_waits_add_up),
        DESCRIPTOR_TEST(a_client_that_leaves_its_stream_is_noticed_while_nothing_is_sent),
        DESCRIPTOR_TEST(a_client_that_leaves_while_events_wait_is_noticed),
        DESCRIPTOR_TEST(a_service_may_end_a_stream_from_within_resume),
        DESCRIPTOR_TEST(a_stream_the_supervisor_has_cut_is_not_added_to),
        DESCRIPTOR_TEST(a_request_the_supervisor_has_answered_gets_no_stream),
        DESCRIPTOR_TEST(a_drain_waits_for_streams),
        DESCRIPTOR_TEST(a_function_waits_until_its_events_are_out),
        DESCRIPTOR_TEST(a_function_whose_client_goes_or_does_not_read_is_told),
        DESCRIPTOR_TEST(a_signal_lets_the_caller_of_flush_look_around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
