/* recovery: every connection a dead worker left gets one reply, or goes on as it is; nothing in its page is trusted. */
#include "capture.h"
#include "descriptors.h"
#include "folder.h"
#include "json_check.h"

#include "base/clock.h"
#include "base/exits.h"
#include "server/cancel.h"
#include "server/control.h"
#include "supervisor/recover.h"
#include "wire/framed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct fdstore slots;
static struct scoreboard board;
static struct orphans orphans;

static int clean(void **state)
{
    scoreboard_reset(&board);
    memset(&orphans, 0, sizeof orphans);
    return descriptors_note(state);
}

#define RECOVER_TEST(function) cmocka_unit_test_setup_teardown(function, clean, descriptors_check)

static struct error crash(void)
{
    struct error err;
    error_set_processing(&err, "WorkerCrashed", "the worker process was killed by signal 9 (SIGKILL)");
    return err;
}

#define CRASH_REPLY                                                                                                    \
    "{\"error\":\"processing_error\",\"message\":\"the worker process was killed by signal 9 (SIGKILL)\","             \
    "\"type\":\"WorkerCrashed\"}"

/* A client whose server end is stored in `slot` and nowhere else. */
static int fdstore_client(uint32_t slot)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(fdstore_put(&slots, slot, pair[1]), 0);
    close(pair[1]);
    return pair[0];
}

/* Deals with all that is stored, in the worker's last state on the scoreboard. */
static struct recovered recover_stored(const int *ends, uint32_t count, const struct error *err)
{
    struct recovery recovery = {.board = &board, .orphans = &orphans, .died = err, .late = err};
    recover_slots(&recovery, ends, count);
    return recovery.done;
}

/* All that has arrived; the connection is closed by the other side if `ended`. NUL-terminated. */
static size_t read_reply(int client, char *reply, size_t room, bool *ended)
{
    size_t size = 0;
    ssize_t got;
    while ((got = recv(client, reply + size, room - 1 - size, MSG_DONTWAIT)) > 0) {
        size += (size_t)got;
    }
    reply[size] = '\0';
    *ended = got == 0; /* a reset is none */
    return size;
}

enum outcome { ANSWERED, PARTIAL, HANDED_ON, CLOSED };

struct slot_row {
    const char *name;
    uint32_t state;
    enum outcome outcome;
    uint8_t first;       /* 0: FIRST_NONE */
    uint32_t begun_left; /* as of the last send, if `then` is not NOT_BEGUN */
    enum slot_then then;
};

#define NOT_BEGUN 77

static const struct slot_row slot_rows[] = {
    {"answered, and not yet emptied", SLOT_FREE, CLOSED, 0, 0, NOT_BEGUN},
    {"nothing was read of it", SLOT_WAITING, HANDED_ON, 0, 0, NOT_BEGUN},
    {"it was to be read, and nothing was there", SLOT_READING, HANDED_ON, 0, 0, NOT_BEGUN},
    {"a part of it was read", SLOT_READING, PARTIAL, '{', 0, NOT_BEGUN},
    {"the function ran", SLOT_RUNNING, ANSWERED, '{', 0, NOT_BEGUN},
    {"its reply was to go out, and did not", SLOT_REPLYING, ANSWERED, '{', 0, NOT_BEGUN},
    {"a part of its reply is out", SLOT_REPLYING, CLOSED, '{', 1, THEN_UNREAD},
    {"its reply is out, and it was to be closed", SLOT_REPLYING, CLOSED, '{', 0, THEN_CLOSED},
    {"its reply is out, and it was to be kept", SLOT_REPLYING, HANDED_ON, '{', 0, THEN_UNREAD},
    {"its reply is out, and the next request is here in part", SLOT_REPLYING, PARTIAL, '{', 0, THEN_TAKEN},
    {"its reply is out, and what it was to become is not known", SLOT_REPLYING, CLOSED, '{', 0, (enum slot_then)200},
    {"an event of its stream is out in part", SLOT_STREAMING, CLOSED, '{', 7, THEN_EVENT},
    {"an event of its stream goes out in part", SLOT_PUSHING, CLOSED, '{', 7, THEN_EVENT},
    {"it was answered before", SLOT_ANSWERED, CLOSED, '{', 0, NOT_BEGUN},
    {"another has it", SLOT_TAKEN, CLOSED, 0, 0, NOT_BEGUN},
    {"a state there is none of", SLOT_TAKEN + 1, ANSWERED, '{', 0, NOT_BEGUN},
    {"a state far from any", 0xDEADBEEF, ANSWERED, '{', 0, NOT_BEGUN},
    {"a page filled with zeros", 0, ANSWERED, '{', 0, NOT_BEGUN},
    {"the largest number", UINT32_MAX, ANSWERED, '{', 0, NOT_BEGUN},
    {"a state there is none of, in a slot used often", 0xFFFFFF00 + SLOT_TAKEN + 1, ANSWERED, '{', 0, NOT_BEGUN},
    {"a part of it was read, in a slot used often", 0xFFFFFF00 + SLOT_READING, PARTIAL, '{', 0, NOT_BEGUN},
};

static void set_slot(uint32_t slot, const struct slot_row *row)
{
    board.slots[slot].state = row->state;
    board.slots[slot].first = row->first == 0 ? FIRST_NONE : row->first;
    board.slots[slot].left = row->then == NOT_BEGUN ? LEFT_ALL : row->begun_left;
    board.slots[slot].then = (uint8_t)row->then;
}

/* Whether the client has what the row says. */
static bool has_outcome(int client, enum outcome outcome)
{
    char reply[4096];
    bool ended;
    size_t size = read_reply(client, reply, sizeof reply, &ended);
    switch (outcome) {
    case ANSWERED:
        return ended && strcmp(reply, CRASH_REPLY) == 0;
    case PARTIAL:
        return ended && strstr(reply, "\"server_error\"") != NULL && json_check(reply, size);
    case HANDED_ON:
        return !ended && size == 0;
    default:
        return ended && size == 0;
    }
}

static void queue_all(int queue)
{
    while (orphans.count > 0 && orphans_queue(&orphans, 0, queue) == 0) {
    }
}

static void the_first_byte_tells_the_form_of_the_reply(void **state)
{
    (void)state;
    static const struct {
        uint16_t protocol;
        uint8_t first;
        const char *begin;
        size_t size;
    } rows[] = {
        {PROTOCOL_AUTO, FIRST_NONE - 1, "{", 1}, {PROTOCOL_AUTO, '[', "{", 1}, {PROTOCOL_AUTO, 0, "\0\0\0", 3},
        {PROTOCOL_AUTO, 'P', "HTTP/1.1 ", 9},    {PROTOCOL_RAW, 'P', "{", 1},  {PROTOCOL_HTTP, '{', "HTTP/1.1 ", 9},
        {PROTOCOL_FRAMED, 'P', "\0\0\0", 3},
    };
    struct error err = crash();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char reply[4096];
        bool ended;
        assert_int_equal(fdstore_grow(&slots, 1), 0);
        int client = fdstore_client(0);
        board.slots[0].state = SLOT_READING;
        board.slots[0].protocol = rows[i].protocol;
        board.slots[0].first = rows[i].first;
        (void)recover_stored(slots.receive, slots.count, &err);
        size_t size = read_reply(client, reply, sizeof reply, &ended);
        if (size <= rows[i].size || memcmp(reply, rows[i].begin, rows[i].size) != 0) {
            fail_msg("protocol %u, first byte %u: %.*s", rows[i].protocol, rows[i].first, (int)size, reply);
        }
        close(client);
        fdstore_done(&slots);
    }
}

static void each_state_has_its_outcome(void **state)
{
    (void)state;
    struct error err = crash();
    for (size_t i = 0; i < sizeof slot_rows / sizeof slot_rows[0]; i++) {
        const struct slot_row *row = &slot_rows[i];
        assert_int_equal(fdstore_grow(&slots, 3), 0);
        int client = fdstore_client(1);
        set_slot(1, row);
        struct recovered recovered = recover_stored(slots.receive, slots.count, &err);
        bool counted = recovered.answered == (row->outcome == ANSWERED) &&
                       recovered.partial == (row->outcome == PARTIAL) &&
                       recovered.handed_on == (row->outcome == HANDED_ON) && orphans.count == recovered.handed_on;
        if (!has_outcome(client, row->outcome) || !counted) {
            fail_msg("%s: %u answered, %u partial, %u handed on", row->name, recovered.answered, recovered.partial,
                     recovered.handed_on);
        }
        if (orphans.count > 0) {
            close(orphans.fds[0]);
            orphans.count = 0;
        }
        close(client);
        fdstore_done(&slots);
    }
}

#define ERROR_EVENT                                                                                                    \
    "event: error\ndata: {\"error\":\"processing_error\",\"details\":{\"message\":\"the worker process was killed by " \
    "signal 9 (SIGKILL)\",\"type\":\"WorkerCrashed\",\"mro\":[],\"traceback\":\"\"}}\n\n"
#define DONE_EVENT "event: done\ndata: {}\n\n"

static void a_stream_is_ended_with_what_it_lacks(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t left;
        enum slot_then then;
        bool unchunked;
        bool counted;
        const char *ends; /* all that comes, but for the sizes of chunks; NULL: the usual reply */
    } rows[] = {
        {"nothing is out", LEFT_ALL, THEN_CLOSED, false, true, NULL},
        {"whole events are out", 0, THEN_EVENT, false, true,
         "ac\r\n" ERROR_EVENT "\r\n16\r\n" DONE_EVENT "\r\n0\r\n\r\n"},
        {"its own error is out", 0, THEN_DONE, false, true, "16\r\n" DONE_EVENT "\r\n0\r\n\r\n"},
        {"its last event is out", 0, THEN_END, false, true, "0\r\n\r\n"},
        {"its end is out", 0, THEN_CLOSED, false, false, ""},
        {"an event is out in part", 1, THEN_EVENT, false, false, ""},
        {"whole events are out, without chunks", 0, THEN_EVENT, true, true, ERROR_EVENT DONE_EVENT},
        {"its last event is out, without chunks", 0, THEN_END, true, true, ""},
        {"what the scoreboard says of it makes no sense", 0, (enum slot_then)99, false, false, ""},
    };
    static const uint32_t states[] = {SLOT_STREAMING, SLOT_PUSHING, SLOT_REPLYING};
    struct error err = crash();
    for (size_t i = 0; i < 3 * sizeof rows / sizeof rows[0]; i++) {
        char reply[4096];
        bool ended;
        size_t row = i / 3;
        assert_int_equal(fdstore_grow(&slots, 1), 0);
        int client = fdstore_client(0);
        board.slots[0].state = states[i % 3];
        board.slots[0].protocol = PROTOCOL_HTTP;
        board.slots[0].left = rows[row].left;
        board.slots[0].then = (uint8_t)rows[row].then;
        board.slots[0].unchunked = rows[row].unchunked;
        struct recovered recovered = recover_stored(slots.receive, slots.count, &err);
        (void)read_reply(client, reply, sizeof reply, &ended);
        bool is_right = rows[row].ends != NULL
                            ? strcmp(reply, rows[row].ends) == 0
                            : strncmp(reply, "HTTP/1.1 500 ", 13) == 0 && strstr(reply, "WorkerCrashed");
        if (!ended || !is_right || recovered.answered != rows[row].counted) {
            fail_msg("%s: %s", rows[row].name, reply);
        }
        close(client);
        fdstore_done(&slots);
    }
}

/* What was kept alive for a next request, and has not begun it. */
static void who_waits_for_no_reply_gets_none(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the runtime is shutting down");
    for (int i = 0; i < 4; i++) {
        int pair[2];
        char reply[4096];
        bool ended;
        bool kept = i % 2 == 0;
        bool begun = i < 2;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        assert_true(orphans_add(&orphans, pair[1], kept, 0));
        assert_true(!begun || send(pair[0], "P", 1, 0) == 1);
        orphans_dismiss(&orphans, 0, 0, &err);
        (void)read_reply(pair[0], reply, sizeof reply, &ended);
        if (!ended || (reply[0] != '\0') != (begun || !kept)) {
            fail_msg("kept %d, begun %d: %s", kept, begun, reply);
        }
        close(pair[0]);
    }
    assert_int_equal(orphans.count, 0);
}

static void a_kept_connection_stays_one_on_its_way_through_the_queue(void **state)
{
    (void)state;
    int supervisor;
    int worker;
    assert_int_equal(control_pair(&supervisor, &worker), 0);
    for (int kept = 0; kept < 2; kept++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        assert_true(orphans_add(&orphans, pair[1], kept, 0));
        for (int way = 0; way < 2; way++) {
            assert_int_equal(orphans_queue(&orphans, 0, supervisor), 0);
            assert_int_equal(orphans.count, 0);
            orphans_reclaim(&orphans, worker, 0);
            assert_int_equal(orphans.count, 1);
            assert_int_equal(orphans.kept[0], kept);
        }
        close(orphans.fds[0]);
        orphans_remove(&orphans, 0);
        close(pair[0]);
    }
    close(supervisor);
    close(worker);
}

/* What the fdholder has found in the table; `number` is what it was there. */
static int keep_client(struct held *kept, int32_t number)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    kept->fds[kept->count] = pair[1];
    kept->numbers[kept->count++] = number;
    return pair[0];
}

static void what_the_fdholder_found_is_dealt_with_by_its_place_on_the_page(void **state)
{
    (void)state;
    static struct held kept;
    static const struct {
        const char *name;
        uint32_t state;
        int32_t number; /* on the scoreboard; the fdholder says 20 */
        bool overwritten;
        enum outcome outcome;
    } rows[] = {
        {"accepted, and not yet on the scoreboard", SLOT_FREE, 20, 0, HANDED_ON},
        {"its number was another's before", SLOT_REPLYING, 21, 0, HANDED_ON},
        {"on the scoreboard, and not stored", SLOT_WAITING, 20, 0, HANDED_ON},
        {"begun to arrive", SLOT_READING, 20, 0, PARTIAL},
        {"the function ran", SLOT_RUNNING, 20, 0, ANSWERED},
        {"its reply is out", SLOT_ANSWERED, 20, 0, CLOSED},
        {"its slot is lost, with the scoreboard", SLOT_FREE, 0, true, ANSWERED},
    };
    struct error err = crash();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char reply[4096];
        bool ended;
        struct recovery recovery = {.board = &board, .orphans = &orphans, .died = &err, .late = &err};
        const struct recovered *recovered = &recovery.done;
        int client = keep_client(&kept, 20);
        board.slots[7].state = rows[i].state;
        board.slots[7].fd = rows[i].number;
        board.slots[7].first = '{';
        recovery.is_overwritten = rows[i].overwritten;
        recover_held(&recovery, &kept);
        (void)read_reply(client, reply, sizeof reply, &ended);
        if (recovered->answered != (rows[i].outcome == ANSWERED) ||
            recovered->partial != (rows[i].outcome == PARTIAL) ||
            recovered->handed_on != (rows[i].outcome == HANDED_ON) || ended != (rows[i].outcome != HANDED_ON) ||
            kept.count != 0) {
            fail_msg("%s: %s", rows[i].name, reply);
        }
        if (orphans.count > 0) {
            close(orphans.fds[0]);
            orphans.count = 0;
        }
        close(client);
    }
}

static void what_was_parked_and_kept_is_answered_once(void **state)
{
    (void)state;
    static struct held kept;
    char reply[4096];
    bool ended;
    struct error err = crash();
    assert_int_equal(fdstore_grow(&slots, 2), 0);
    int client = fdstore_client(1);
    int connection = fdstore_peek(slots.receive[1]);
    kept = (struct held){.count = 1, .fds = {connection}, .numbers = {20}};
    board.slots[1].state = SLOT_RUNNING;
    board.slots[1].fd = 20;
    struct recovery recovery = {.board = &board, .orphans = &orphans, .died = &err, .late = &err};
    recover_slots(&recovery, slots.receive, slots.count);
    recover_held(&recovery, &kept);
    (void)read_reply(client, reply, sizeof reply, &ended);
    assert_string_equal(reply, CRASH_REPLY);
    assert_true(ended);
    assert_int_equal(recovery.done.answered, 1);
    close(client);
    fdstore_done(&slots);
}

static void who_ran_into_its_time_limit_is_told_so(void **state)
{
    (void)state;
    struct error err = crash();
    struct error late;
    int clients[4];
    cancel_timeout_error(&late, CLOCK_SECOND);
    assert_int_equal(fdstore_grow(&slots, 4), 0);
    struct recovery recovery = {.board = &board, .orphans = &orphans, .died = &err, .late = &late, .overdue = {0xC}};
    for (uint32_t i = 0; i < 4; i++) {
        clients[i] = fdstore_client(i);
        board.slots[i].state =
            i == 3 ? SLOT_ANSWERED : SLOT_RUNNING; /* one is over its time, one was answered after that */
    }
    recover_slots(&recovery, slots.receive, slots.count);
    for (uint32_t i = 0; i < 4; i++) {
        char reply[4096];
        bool ended;
        (void)read_reply(clients[i], reply, sizeof reply, &ended);
        bool is_right = i < 2 ? strcmp(reply, CRASH_REPLY) == 0 : (strstr(reply, "HandlerTimeout") != NULL) == (i == 2);
        if (!ended || !is_right) {
            fail_msg("%u: %s", i, reply);
        }
        close(clients[i]);
    }
    fdstore_done(&slots);
}

static void every_slot_is_looked_at_once(void **state)
{
    (void)state;
    enum { CLIENTS = 40 };
    int clients[CLIENTS];
    struct error err = crash();
    assert_int_equal(fdstore_grow(&slots, CLIENTS), 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = i % 4 == 3 ? -1 : fdstore_client(i); /* some are empty */
        board.slots[i].state = i % 4 == 0 ? SLOT_RUNNING : i % 4 == 1 ? SLOT_WAITING : SLOT_READING;
        board.slots[i].first = '{';
    }
    struct recovered recovered = recover_stored(slots.receive, slots.count, &err);
    assert_int_equal(recovered.answered, CLIENTS / 4);
    assert_int_equal(recovered.handed_on, CLIENTS / 4);
    assert_int_equal(recovered.partial, CLIENTS / 4);
    recovered = recover_stored(slots.receive, slots.count, &err);
    assert_int_equal(recovered.answered + recovered.handed_on + recovered.partial, 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (clients[i] >= 0) {
            close(clients[i]);
        }
    }
    for (uint32_t i = 0; i < orphans.count; i++) {
        close(orphans.fds[i]);
    }
    fdstore_done(&slots);
}

static void what_is_no_connection_is_passed_over(void **state)
{
    (void)state;
    struct error err = crash();
    assert_int_equal(fdstore_grow(&slots, 4), 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(fdstore_put(&slots, 0, null), 0);
    close(null);
    assert_int_equal(write(slots.send[1], "garbage", 7), 7);
    int client = fdstore_client(3);
    for (int i = 0; i < 4; i++) {
        board.slots[i].state = SLOT_RUNNING;
    }
    int ends[6] = {slots.receive[0], slots.receive[1], slots.receive[2], slots.receive[3], -1, STDERR_FILENO};
    struct recovered recovered = recover_stored(ends, 6, &err);
    assert_int_equal(recovered.answered, 1);
    char reply[4096];
    bool ended;
    (void)read_reply(client, reply, sizeof reply, &ended);
    assert_string_equal(reply, CRASH_REPLY);
    close(client);
    fdstore_done(&slots);
}

/* Under a low RLIMIT_NOFILE: the descriptors above are for the next worker's start. */
static void orphans_leave_descriptors_free_and_the_others_are_answered(void **state)
{
    (void)state;
    enum { CLIENTS = 4 };
    struct error err = crash();
    int clients[CLIENTS];
    assert_int_equal(fdstore_grow(&slots, CLIENTS), 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = fdstore_client(i);
        board.slots[i].state = SLOT_WAITING;
    }
    int lowest = dup(STDERR_FILENO);
    close(lowest);
    orphans.numbers_end = lowest + 1; /* the second one is beyond */
    struct recovered recovered = recover_stored(slots.receive, slots.count, &err);
    assert_int_equal(recovered.handed_on, 2);
    assert_int_equal(recovered.partial, CLIENTS - 2);
    assert_false(orphans_have_room(&orphans));
    for (uint32_t i = 0; i < CLIENTS; i++) {
        char reply[4096];
        bool ended;
        (void)read_reply(clients[i], reply, sizeof reply, &ended);
        assert_int_equal(ended, i >= 2);
        assert_true(!ended || strstr(reply, "\"server_error\"") != NULL);
        close(clients[i]);
    }
    close(orphans.fds[1]);
    orphans.count = 1;
    assert_true(orphans_have_room(&orphans));
    close(orphans.fds[0]);
    fdstore_done(&slots);
}

static void more_orphans_than_there_is_room_for_are_answered(void **state)
{
    (void)state;
    struct error err = crash();
    assert_int_equal(fdstore_grow(&slots, 2), 0);
    int first = fdstore_client(0);
    int second = fdstore_client(1);
    board.slots[0].state = board.slots[1].state = SLOT_WAITING;
    orphans.count = ORPHANS_MAX - 1; /* as if they were there */
    struct recovered recovered = recover_stored(slots.receive, slots.count, &err);
    assert_int_equal(orphans.count, ORPHANS_MAX);
    assert_int_equal(recovered.handed_on, 1);
    assert_int_equal(recovered.partial, 1);
    char reply[4096];
    bool ended;
    assert_int_equal(read_reply(first, reply, sizeof reply, &ended), 0);
    assert_false(ended);
    (void)read_reply(second, reply, sizeof reply, &ended);
    assert_true(ended);
    assert_non_null(strstr(reply, "\"server_error\""));
    assert_false(orphans_add(&orphans, first, false, 0));
    close(orphans.fds[ORPHANS_MAX - 1]);
    close(first);
    close(second);
    fdstore_done(&slots);
}

static void a_client_that_is_gone_is_no_failure(void **state)
{
    (void)state;
    struct error err = crash();
    capture_begin();
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    close(fdstore_client(0));
    board.slots[0].state = SLOT_RUNNING;
    (void)recover_stored(slots.receive, slots.count, &err); /* and no SIGPIPE */
    fdstore_done(&slots);
    (void)capture_end();
}

static void a_client_still_writing_gets_its_reply(void **state)
{
    (void)state;
    struct error err = crash();
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    int client = fdstore_client(0);
    static char bytes[50000];
    memset(bytes, '1', sizeof bytes);
    assert_true(send(client, bytes, sizeof bytes, 0) > 0); /* nobody read this */
    board.slots[0].state = SLOT_RUNNING;
    (void)recover_stored(slots.receive, slots.count, &err);
    char reply[4096];
    bool ended;
    (void)read_reply(client, reply, sizeof reply, &ended);
    assert_string_equal(reply, CRASH_REPLY);
    assert_int_equal(recv(client, reply, 1, 0), 0); /* an end, and no reset */
    close(client);
    fdstore_done(&slots);
}

/* The longest text and type there can be, of what needs most room in a reply. */
static void the_longest_error_fits_into_a_reply(void **state)
{
    (void)state;
    static const char *const units[] = {"a", "\"", "\x01", "\xFF", "\xE2\x82\xAC"};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct error err = {.category = ERR_PROCESSING};
        size_t step = strlen(units[i]);
        for (size_t at = 0; at + step < sizeof err.text; at += step) {
            memcpy(err.text + at, units[i], step);
        }
        for (size_t at = 0; at + step < sizeof err.type; at += step) {
            memcpy(err.type + at, units[i], step);
        }
        assert_int_equal(fdstore_grow(&slots, 1), 0);
        int client = fdstore_client(0);
        board.slots[0].state = SLOT_RUNNING;
        (void)recover_stored(slots.receive, slots.count, &err);
        static char reply[1 << 16];
        bool ended;
        size_t size = read_reply(client, reply, sizeof reply, &ended);
        assert_true(ended);
        assert_true(json_check(reply, size));
        close(client);
        fdstore_done(&slots);
    }
}

static void orphans_are_handed_on_in_order_with_what_they_sent(void **state)
{
    (void)state;
    enum { CLIENTS = 3 };
    int clients[CLIENTS];
    struct error err = crash();
    assert_int_equal(fdstore_grow(&slots, CLIENTS), 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = fdstore_client(i);
        board.slots[i].state = SLOT_WAITING;
        assert_int_equal(write(clients[i], &"abc"[i], 1), 1);
    }
    (void)recover_stored(slots.receive, slots.count, &err);
    int supervisor;
    int worker;
    assert_int_equal(control_pair(&supervisor, &worker), 0);
    queue_all(supervisor);
    assert_int_equal(orphans.count, 0);
    for (int i = 0; i < CLIENTS; i++) {
        struct control_message message;
        int fds[CONTROL_FDS_MAX];
        char byte;
        assert_int_equal(control_receive(worker, &message, fds), 1);
        assert_int_equal(message.type, CONTROL_CONNECTION);
        assert_int_equal(message.count, 1);
        assert_int_equal(read(fds[0], &byte, 1), 1);
        assert_int_equal(byte, "abc"[i]);
        close(fds[0]);
        close(clients[i]);
    }
    close(supervisor);
    close(worker);
    fdstore_done(&slots);
}

/* When no worker is left to take them. */
static void what_lies_in_the_queue_is_taken_back(void **state)
{
    (void)state;
    int clients[3];
    int send;
    int receive;
    assert_int_equal(control_pair(&send, &receive), 0);
    assert_int_equal(write(send, "nonsense", 8), 8);
    for (int i = 0; i < 3; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        assert_true(orphans_add(&orphans, pair[1], false, 1));
        clients[i] = pair[0];
        assert_int_equal(write(pair[0], &"abc"[i], 1), 1);
    }
    queue_all(send);
    assert_int_equal(control_send(send, CONTROL_CONNECTION, &send, 1), 0); /* what is no connection */
    orphans_reclaim(&orphans, receive, 77);
    assert_int_equal(orphans.count, 3);
    for (int i = 0; i < 3; i++) {
        char byte;
        assert_int_equal(read(orphans.fds[i], &byte, 1), 1);
        assert_int_equal(byte, "abc"[i]);
        assert_int_equal(orphans.since[i], 77);
        assert_int_equal(orphans.wants[i], WANTS_UNSEEN);
        close(orphans.fds[i]);
        close(clients[i]);
    }
    orphans.count = 0;
    close(send);
    close(receive);
}

static void health_is_answered_and_the_connection_ends(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        bool ready;
        const char *begins;
        const char *ends;
    } rows[] = {
        {"GET /healthz HTTP/1.1\r\n\r\n", true, "HTTP/1.1 200 ", "\r\n\r\n{\"status\":\"ready\"}"},
        {"GET /healthz HTTP/1.1\r\n\r\n", false, "HTTP/1.1 503 ", "\r\n\r\n{\"status\":\"not ready\"}"},
        {"HEAD /healthz HTTP/1.1\r\n\r\n", true, "HTTP/1.1 200 ", "\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int pair[2];
        char reply[1024];
        bool ended;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        assert_int_equal(write(pair[0], rows[i].request, strlen(rows[i].request)), strlen(rows[i].request));
        recover_health(pair[1], rows[i].ready ? HEALTH_READY : HEALTH_NOT_READY);
        size_t size = read_reply(pair[0], reply, sizeof reply, &ended);
        assert_true(ended && size > strlen(rows[i].ends));
        assert_memory_equal(reply, rows[i].begins, strlen(rows[i].begins));
        assert_string_equal(reply + size - strlen(rows[i].ends), rows[i].ends);
        assert_int_equal(recv(pair[0], reply, 1, MSG_DONTWAIT), 0); /* the end, and no reset */
        close(pair[0]);
    }
}

static void orphans_a_worker_does_not_take_stay(void **state)
{
    (void)state;
    int supervisor;
    int worker;
    int clients[200];
    int taken = 0;
    assert_int_equal(control_pair(&supervisor, &worker), 0);
    for (int i = 0; i < 200; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        clients[i] = pair[0];
        assert_true(orphans_add(&orphans, pair[1], false, (uint64_t)i));
    }
    uint32_t before = orphans.count;
    while (orphans.count > 0) { /* as often as the worker empties its queue */
        queue_all(supervisor);
        assert_true(orphans.count < before);
        assert_true(orphans.count == 0 || orphans.since[0] == 200 - orphans.count);
        before = orphans.count;
        struct control_message message;
        int fds[CONTROL_FDS_MAX];
        while (control_receive(worker, &message, fds) == 1) {
            close(fds[0]);
            taken++;
        }
    }
    assert_int_equal(taken, 200);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_true(orphans_add(&orphans, pair[1], false, 0));
    close(worker);
    queue_all(supervisor); /* a worker that is gone takes none */
    assert_int_equal(orphans.count, 1);
    close(pair[0]);
    close(pair[1]);
    close(supervisor);
    for (int i = 0; i < 200; i++) {
        close(clients[i]);
    }
}

static void at_the_end_orphans_and_the_backlog_are_answered(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE];
    char path[FOLDER_SIZE + 16];
    int clients[20];
    struct error err;
    struct listener listener;
    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/app.sock", folder);
    assert_int_equal(listener_open(&listener, &LISTENER_WISH(path, 0600), &err), EXIT_OK);
    assert_int_equal(listener_publish(&listener), 0);
    for (int i = 0; i < 20; i++) {
        if (i < 10) {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            memcpy(address.sun_path, path, strlen(path));
            clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            assert_int_equal(connect(clients[i], (const struct sockaddr *)&address, sizeof address), 0);
            assert_int_equal(write(clients[i], "{}", 2), 2);
        } else {
            int pair[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
            clients[i] = pair[0];
            assert_true(orphans_add(&orphans, pair[1], false, 0));
        }
    }
    error_set(&err, ERR_SERVER, 0, "the runtime is shutting down");
    recover_dismiss(&orphans, &listener, &err);
    assert_int_equal(orphans.count, 0);
    for (int i = 0; i < 20; i++) {
        char reply[4096];
        bool ended;
        (void)read_reply(clients[i], reply, sizeof reply, &ended);
        assert_true(ended);
        assert_string_equal(reply, "{\"error\":\"server_error\",\"message\":\"the runtime is shutting down\"}");
        close(clients[i]);
    }
    listener_close(&listener);
    recover_dismiss(&orphans, &listener, &err); /* without a listener: nobody */
    folder_remove(folder);
}

/* Where the JSON of a reply begins, whatever protocol a scoreboard told. */
static size_t json_at(const char *reply)
{
    const char *end_of_head = strncmp(reply, "HTTP/", 5) == 0 ? strstr(reply, "\r\n\r\n") : NULL;
    return end_of_head != NULL ? (size_t)(end_of_head - reply) + 4 : reply[0] == '\0' ? FRAMED_PREFIX_SIZE : 0;
}

static void random_pages_never_cost_more_than_their_clients(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252;
    struct error err = crash();
    for (int round = 0; round < 100; round++) {
        unsigned char *bytes = (unsigned char *)&board;
        for (size_t i = 0; i < sizeof board; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes[i] = (unsigned char)(seed & (round % 2 == 0 ? 0xFF : 0x07));
        }
        int clients[8];
        assert_int_equal(fdstore_grow(&slots, 8), 0);
        for (uint32_t i = 0; i < 8; i++) {
            clients[i] = fdstore_client(i);
        }
        orphans.count = 0;
        struct recovered recovered = recover_stored(slots.receive, slots.count, &err);
        assert_true(recovered.answered + recovered.handed_on + recovered.partial <= 8);
        recover_dismiss(&orphans, &(struct listener){.fd = -1}, &err);
        for (uint32_t i = 0; i < 8; i++) {
            char reply[4096];
            bool ended;
            size_t size = read_reply(clients[i], reply, sizeof reply, &ended);
            assert_true(ended);
            size_t head = json_at(reply);
            assert_true(size == 0 || json_check(reply + head, size - head));
            close(clients[i]);
        }
        fdstore_done(&slots);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECOVER_TEST(each_state_has_its_outcome),
        RECOVER_TEST(a_stream_is_ended_with_what_it_lacks),
        RECOVER_TEST(who_waits_for_no_reply_gets_none),
        RECOVER_TEST(a_kept_connection_stays_one_on_its_way_through_the_queue),
        RECOVER_TEST(what_the_fdholder_found_is_dealt_with_by_its_place_on_the_page),
        RECOVER_TEST(what_was_parked_and_kept_is_answered_once),
        RECOVER_TEST(the_first_byte_tells_the_form_of_the_reply),
        RECOVER_TEST(who_ran_into_its_time_limit_is_told_so),
        RECOVER_TEST(every_slot_is_looked_at_once),
        RECOVER_TEST(what_is_no_connection_is_passed_over),
        RECOVER_TEST(orphans_leave_descriptors_free_and_the_others_are_answered),
        RECOVER_TEST(more_orphans_than_there_is_room_for_are_answered),
        RECOVER_TEST(a_client_that_is_gone_is_no_failure),
        RECOVER_TEST(a_client_still_writing_gets_its_reply),
        RECOVER_TEST(the_longest_error_fits_into_a_reply),
        RECOVER_TEST(orphans_are_handed_on_in_order_with_what_they_sent),
        RECOVER_TEST(what_lies_in_the_queue_is_taken_back),
        RECOVER_TEST(health_is_answered_and_the_connection_ends),
        RECOVER_TEST(orphans_a_worker_does_not_take_stay),
        RECOVER_TEST(at_the_end_orphans_and_the_backlog_are_answered),
        RECOVER_TEST(random_pages_never_cost_more_than_their_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
