/* unstored: who gets an answer when a worker ends whose connections nobody else holds. A connection that is kept alive
 * expects none before it has sent the first byte of its next request. */
#include "serving.h"

#include "base/exits.h"
#include "server/control.h"
#include "server/unstored.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NEXT "POST /invoke HTTP/1.1\r\n\r\n"

/* What the worker had noted, what lies in the socket, and what its client gets. */
static const struct row {
    enum slot_state state; /* SLOT_FREE: no slot */
    bool kept;
    uint8_t first;
    const char *waiting;
    const char *reply; /* a part of it; NULL: none */
} rows[] = {
    {SLOT_FREE, false, FIRST_NONE, "", "unread"},
    {SLOT_WAITING, false, FIRST_NONE, "", "unread"},
    {SLOT_WAITING, false, FIRST_NONE, NEXT, "unread"},
    {SLOT_READING, false, FIRST_NONE, "", "unread"},
    {SLOT_READING, false, 'P', "", "unread"},
    {SLOT_WAITING, true, FIRST_NONE, "", NULL},
    {SLOT_WAITING, true, FIRST_NONE, NEXT, "unread"},
    {SLOT_READING, true, FIRST_NONE, "", NULL}, /* the worker looked for the next request, and there was none */
    {SLOT_READING, true, FIRST_NONE, NEXT, "unread"},
    {SLOT_READING, true, 'P', "", "unread"}, /* it has taken the beginning */
    {SLOT_RUNNING, false, 'P', "", "running"},
    {SLOT_RUNNING, true, 'P', "", "running"},
    {SLOT_ANSWERED, true, 'P', "", NULL},
};

static void check(const struct serving *serving, const struct row *row)
{
    static struct scoreboard board;
    static const uint32_t slot = 3;
    char reply[4096];
    struct unstored about = {.board = &board, .protocol = PROTOCOL_HTTP, .unread = "unread", .running = "running"};
    scoreboard_reset(&board);
    assert_int_equal(table_name_of(serving->listener.fd, &about.listener), 0);
    int client = caller_connect(serving);
    assert_int_equal(write(client, row->waiting, strlen(row->waiting)), (ssize_t)strlen(row->waiting));
    int fd = listener_accept(&serving->listener);
    assert_true(fd >= 0);
    if (row->state != SLOT_FREE) {
        atomic_store(&board.slots[slot].fd, fd);
        atomic_store(&board.slots[slot].kept, row->kept);
        atomic_store(&board.slots[slot].protocol, PROTOCOL_HTTP);
        board.slots[slot].first = row->first;
        atomic_store(&board.slots[slot].state, (uint32_t)row->state);
    }
    unstored_answer(&about);
    size_t size = caller_read(client, reply, sizeof reply - 1);
    reply[size] = '\0';
    if (row->reply == NULL) {
        assert_string_equal(reply, "");
    } else {
        assert_non_null(strstr(reply, row->reply));
    }
    close(client);
}

static void only_who_expects_a_reply_gets_one(void **state)
{
    (void)state;
    struct serving *serving = serving_make(0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(serving, &rows[i]);
    }
    serving_free(serving);
}

/* A worker's process whose function closes the connection of `slot`, so that the next file gets its number. Tells by a
 * byte that it has. */
static void serve_and_close(struct serving *serving, int closed)
{
    static const uint32_t slot = 0;
    static const char request[] = "POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{1}";
    char reply[512];
    serving->config.fdholder = -1; /* so that the worker answers itself */
    serving_start(serving);
    int client = caller_connect(serving);
    serving_await_slot(serving, slot, SLOT_WAITING);
    if (!caller_send(client, request, sizeof request - 1) || read(client, reply, sizeof reply) <= 0) {
        _exit(1);
    }
    serving_await_slot(serving, slot, SLOT_WAITING);
    int number = atomic_load(&serving->board.slots[slot].fd);
    int lower;
    do {
        lower = dup(STDIN_FILENO); /* until no number below it is free */
    } while (lower >= 0 && lower < number);
    close(number);
    (void)!write(closed, "x", 1);
    (void)serving_join(serving);
    _exit(2);
}

static void an_idle_connection_that_gets_a_closed_one_s_number_gets_no_reply(void **state)
{
    (void)state;
    struct serving *serving = serving_make(4);
    char reply[512];
    int status;
    int closed[2];
    int idle = caller_connect(serving);
    int kept = listener_accept(&serving->listener);
    assert_true(kept >= 0);
    assert_int_equal(pipe(closed), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(kept);
        serve_and_close(serving, closed[1]);
    }
    assert_int_equal(read(closed[0], reply, 1), 1);
    assert_int_equal(control_send(serving->queue, CONTROL_KEPT_ALIVE, &kept, 1), 0);
    close(kept);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_TAMPERED);
    fdstore_done(&serving->fdstore); /* the supervisor's copy, which it would hand on */
    assert_int_equal(caller_read(idle, reply, sizeof reply), 0);
    close(closed[0]);
    close(closed[1]);
    close(idle);
    serving_free(serving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_expects_a_reply_gets_one),
        cmocka_unit_test(an_idle_connection_that_gets_a_closed_one_s_number_gets_no_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
