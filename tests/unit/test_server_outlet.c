/* outlet: a reply goes out, and whoever looks at the scoreboard afterwards knows whether it did. */
#include "descriptors.h"

#include "server/outlet.h"

#include <errno.h>
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

static struct scoreboard *board;
static int ends[2];

static int setup(void **state)
{
    if (descriptors_note(state) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        return -1;
    }
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        return -1;
    }
    scoreboard_reset(board);
    return 0;
}

static int teardown(void **state)
{
    close(ends[0]);
    close(ends[1]);
    (void)munmap(board, sizeof *board);
    return descriptors_check(state);
}

static ssize_t send_text(struct scoreboard *where, uint32_t slot, char *text)
{
    struct iovec parts[2] = {{text, strlen(text) / 2}, {text + strlen(text) / 2, strlen(text) - strlen(text) / 2}};
    return outlet_send(where, slot, THEN_UNREAD, ends[0], parts, 2);
}

static void check_progress(uint32_t slot, uint32_t left, enum slot_then then)
{
    struct outlet_progress found = outlet_progress(board, slot);
    assert_int_equal(found.left, left);
    if (left == 0) {
        assert_int_equal(found.then, then);
    }
}

static void both_parts_arrive_and_the_slot_says_so(void **state)
{
    (void)state;
    char text[] = "a reply";
    char got[16];
    board->slots[3].state = (5 << SLOT_STATE_BITS) + SLOT_REPLYING;
    outlet_begin(&board->slots[3]);
    check_progress(3, LEFT_ALL, THEN_CLOSED);
    assert_int_equal(send_text(board, 3, text), strlen(text));
    assert_int_equal(recv(ends[1], got, sizeof got, 0), strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_int_equal(board->slots[3].state, (5 << SLOT_STATE_BITS) + SLOT_REPLYING);
    assert_int_equal(board->outlet.slot, OUTLET_NO_SLOT);
    check_progress(3, 0, THEN_UNREAD);
    check_progress(4, LEFT_ALL, THEN_CLOSED);
    outlet_begin(&board->slots[3]);
    check_progress(3, LEFT_ALL, THEN_CLOSED);
}

static void without_a_page_or_a_slot_it_sends_all_the_same(void **state)
{
    (void)state;
    char text[] = "a reply";
    assert_int_equal(send_text(NULL, 3, text), strlen(text));
    assert_int_equal(send_text(board, OUTLET_NO_SLOT, text), strlen(text));
    assert_int_equal(board->outlet.slot, OUTLET_NO_SLOT);
}

static void a_failure_is_told_and_nothing_is_out(void **state)
{
    (void)state;
    char text[] = "a reply";
    close(ends[1]);
    assert_int_equal(send_text(board, 3, text), -1);
    assert_int_equal(errno, EPIPE); /* and no SIGPIPE */
    check_progress(3, LEFT_ALL, THEN_CLOSED);
    ends[1] = -1;
}

static void what_does_not_fit_is_not_waited_for(void **state)
{
    (void)state;
    static char text[1 << 22];
    memset(text, 'x', sizeof text - 1);
    ssize_t first = send_text(board, 3, text);
    assert_true(first > 0 && first < (ssize_t)sizeof text);
    check_progress(3, (uint32_t)(sizeof text - 1) - (uint32_t)first, THEN_UNREAD);
    while ((first = send_text(board, 3, text)) > 0) {
        check_progress(3, (uint32_t)(sizeof text - 1) - (uint32_t)first, THEN_UNREAD);
    }
    assert_int_equal(errno, EAGAIN);
    assert_in_range(outlet_progress(board, 3).left, 1, sizeof text - 1); /* as of the last send that took something */
}

/* A call of which the worker saw no more than the kernel's count. */
static void what_the_kernel_has_counted_is_believed_as_far_as_it_can_be(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t slot;
        uint32_t sent;
        uint32_t left; /* of five given to the kernel; the slot says that three are left */
    } rows[] = {
        {"before the call", OUTLET_NO_SLOT, 5, 3},
        {"nothing was sent", 2, OUTLET_UNSENT, 3},
        {"a part was sent", 2, 4, 1},
        {"all was sent", 2, 5, 0},
        {"another reply was sent", 1, 5, 3},
        {"the count was overwritten with zeros", 2, 0, 3},
        {"more than was given", 2, 6, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        board->slots[2].left = 3;
        board->outlet.slot = rows[i].slot;
        board->outlet.left = 5;
        board->outlet.then = THEN_TAKEN;
        board->outlet.message.msg_len = rows[i].sent;
        if (outlet_progress(board, 2).left != rows[i].left) {
            fail_msg("%s: %u", rows[i].name, outlet_progress(board, 2).left);
        }
    }
}

enum { PIECES = 40, PIECE = 10, LAST = 1 << 20 };

/* Pieces of a stream, each of which says another thing of what follows it; the last does not fit. */
static void send_pieces(int fd)
{
    static char text[LAST];
    outlet_begin(&board->slots[0]);
    board->requests = 1;
    for (int i = 0; i < PIECES; i++) {
        struct iovec part = {text, PIECE};
        (void)outlet_send(board, 0, i % 2 == 0 ? THEN_EVENT : THEN_DONE, fd, &part, 1);
    }
    struct iovec part = {text, LAST};
    (void)outlet_send(board, 0, THEN_CLOSED, fd, &part, 1);
}

/* Killed at any moment, what the scoreboard says agrees to the byte with what the other side has. */
static void the_page_of_a_killed_process_is_right(void **state)
{
    (void)state;
    static char got[LAST + PIECES * PIECE];
    uint32_t rounds[3] = {0, 0, 0};
    for (int round = 0; round < 300; round++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        scoreboard_reset(board);
        pid_t child = fork();
        if (child == 0) {
            send_pieces(pair[0]);
            _exit(0);
        }
        while (board->requests == 0) {
        }
        for (volatile int i = 0; i < round * 80; i++) {
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        uint32_t arrived = 0;
        for (ssize_t more; (more = recv(pair[1], got, sizeof got, 0)) > 0;) {
            arrived += (uint32_t)more;
        }
        if (arrived == 0) {
            check_progress(0, LEFT_ALL, THEN_CLOSED);
        } else if (arrived <= PIECES * PIECE) {
            check_progress(0, 0, arrived / PIECE % 2 == 1 ? THEN_EVENT : THEN_DONE);
        } else {
            check_progress(0, LAST - (arrived - PIECES * PIECE), THEN_CLOSED);
        }
        rounds[arrived == 0 ? 0 : arrived <= PIECES * PIECE ? 1 : 2]++;
        close(pair[0]);
        close(pair[1]);
    }
    print_message("killed before: %u, between: %u, in the last: %u\n", rounds[0], rounds[1], rounds[2]);
}

#define OUTLET_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTLET_TEST(both_parts_arrive_and_the_slot_says_so),
        OUTLET_TEST(without_a_page_or_a_slot_it_sends_all_the_same),
        OUTLET_TEST(a_failure_is_told_and_nothing_is_out),
        OUTLET_TEST(what_does_not_fit_is_not_waited_for),
        OUTLET_TEST(what_the_kernel_has_counted_is_believed_as_far_as_it_can_be),
        OUTLET_TEST(the_page_of_a_killed_process_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
