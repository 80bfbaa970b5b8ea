/* running: how many requests a worker has, and what they are called, from a scoreboard that may say anything. */
#include "supervisor/running.h"

#include "base/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct scoreboard board;

static int begin(void **state)
{
    (void)state;
    memset(&board, 0xAB, sizeof board); /* what another process has left */
    scoreboard_reset(&board);
    return 0;
}

static void name(uint32_t slot, const char *text) { scoreboard_note_id(&board, &board.slots[slot], view_of(text)); }

struct count_row {
    const char *name;
    enum slot_state state;
    uint8_t first;
    uint32_t count;
    uint32_t partial;
};

static const struct count_row count_rows[] = {
    {"a free place", SLOT_FREE, 'x', 0, 0},
    {"nothing was sent yet", SLOT_WAITING, FIRST_NONE, 0, 0},
    {"nothing was read yet", SLOT_READING, FIRST_NONE, 0, 0},
    {"read in part", SLOT_READING, '{', 0, 1},
    {"in the function", SLOT_RUNNING, '{', 1, 0},
    {"a stream", SLOT_STREAMING, 'P', 1, 0},
    {"a stream's event", SLOT_PUSHING, 'P', 1, 0},
    {"answered by the supervisor", SLOT_ANSWERED, '{', 1, 0},
    {"its reply goes out", SLOT_REPLYING, '{', 1, 0},
    {"taken by the supervisor", SLOT_TAKEN, FIRST_NONE, 0, 0},
    {"no state at all", (enum slot_state)0x55, '{', 0, 0},
};

static void each_state_counts_as_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof count_rows / sizeof count_rows[0]; i++) {
        const struct count_row *row = &count_rows[i];
        struct running running = {0};
        scoreboard_reset(&board);
        board.slots[7].state = 0x700 + (uint32_t)row->state; /* the word counts connections above the state */
        board.slots[7].first = row->first;
        running_add(&running, &board);
        if (running.count != row->count || running.partial != row->partial) {
            fail_msg("%s: %u and %u", row->name, running.count, running.partial);
        }
    }
}

static const char *describe(uint32_t count, uint32_t named)
{
    static char text[RUNNING_TEXT_SIZE];
    struct running running = {0};
    scoreboard_reset(&board);
    for (uint32_t i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "n%u", i);
        board.slots[i].state = SLOT_RUNNING;
        if (i < named) {
            name(i, id);
        }
    }
    running_add(&running, &board);
    running_describe(&running, text);
    return text;
}

static void several_are_listed_and_one_is_whom_the_line_is_about(void **state)
{
    (void)state;
    assert_string_equal(describe(0, 0), "");
    assert_string_equal(describe(1, 1), "");
    assert_string_equal(describe(2, 0), "");
    assert_string_equal(describe(2, 2), " (n0, n1)");
    assert_string_equal(describe(3, 1), " (n0, 2 more)");
    assert_string_equal(describe(SLOTS_MAX, SLOTS_MAX), " (n0, n1, n2, n3, n4, n5, n6, n7, 1016 more)");
    struct running running = {0};
    (void)describe(1, 1);
    running_add(&running, &board);
    struct view id = running_about(&running).id;
    assert_int_equal(id.size, 2);
    assert_memory_equal(id.data, "n0", 2);
    running_add(&running, &board);
    assert_int_equal(running_about(&running).id.size, 0);
}

static void names_are_bounded_whatever_the_page_says(void **state)
{
    (void)state;
    char found[SCOREBOARD_ID_MAX + 1];
    char text[RUNNING_TEXT_SIZE];
    char held[HOLDUP_TEXT_SIZE];
    name(0, "");
    running_name(&board, 0, found);
    assert_string_equal(found, "");
    name(0, "\xC3\xA9"
            "123456789012345678901234567890123456789012345678901234567890-\xC3\xA9z"); /* cut inside a character */
    running_name(&board, 0, found);
    assert_int_equal(strlen(found), SCOREBOARD_ID_MAX - 1);
    memset(&board, 'x', sizeof board);
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        board.slots[i].state = SLOT_RUNNING;
    }
    struct running running = {0};
    running_add(&running, &board);
    running_describe(&running, text);
    assert_int_equal(strlen(running.names[0]), SCOREBOARD_ID_MAX);
    running_describe_holdup(&board, held);
    scoreboard_reset(&board);
    memset(board.waits_for, 'x', sizeof board.waits_for);
    running_describe_holdup(&board, held);
    assert_int_equal(strlen(held), strlen("has no request any more and waits for ") + SCOREBOARD_TEXT_SIZE - 1);
}

static void what_holds_up_a_worker_is_said_in_this_order(void **state)
{
    (void)state;
    char held[HOLDUP_TEXT_SIZE];
    running_describe_holdup(&board, held);
    assert_string_equal(held, "has no request any more, and does not end");
    (void)snprintf(board.waits_for, sizeof board.waits_for, "thread poller");
    running_describe_holdup(&board, held);
    assert_string_equal(held, "has no request any more and waits for thread poller");
    board.slots[3].state = SLOT_READING;
    board.slots[3].first = '{';
    running_describe_holdup(&board, held);
    assert_string_equal(held, "waits for the rest of 1 requests");
    board.slots[5].state = SLOT_REPLYING;
    running_describe_holdup(&board, held);
    assert_string_equal(held, "has 1 replies to send");
    board.slots[4].state = SLOT_RUNNING;
    running_describe_holdup(&board, held);
    assert_string_equal(held, "has 2 requests that run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_state_counts_as_what_it_is, begin),
        cmocka_unit_test_setup(several_are_listed_and_one_is_whom_the_line_is_about, begin),
        cmocka_unit_test_setup(names_are_bounded_whatever_the_page_says, begin),
        cmocka_unit_test_setup(what_holds_up_a_worker_is_said_in_this_order, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
