/* scoreboard: what one says when nothing has happened, and that memory which was overwritten says nothing. */
#include "server/scoreboard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t states[] = {SLOT_FREE,      SLOT_WAITING, SLOT_READING,  SLOT_RUNNING, SLOT_REPLYING,
                                 SLOT_STREAMING, SLOT_PUSHING, SLOT_ANSWERED, SLOT_TAKEN};
enum { STATES = sizeof states };

static void states_are_far_from_each_other_and_from_what_memory_is_filled_with(void **state)
{
    (void)state;
    static const uint8_t fillings[] = {0x00, 0xFF, 0xAA, 0x55, 0xA5, 0x5A, 0xCD, 0xDD, 0xFD, 0xEF, ' ', '0'};
    for (int i = 0; i < STATES; i++) {
        for (int k = 0; k < i; k++) {
            assert_in_range(__builtin_popcount(states[i] ^ states[k]), 3, 8);
        }
        assert_null(memchr(fillings, states[i], sizeof fillings));
    }
}

static void a_new_page_is_free_whatever_was_in_it(void **state)
{
    (void)state;
    struct scoreboard *board = malloc(sizeof *board);
    assert_non_null(board);
    memset(board, 0x5E, sizeof *board);
    scoreboard_reset(board);
    assert_int_equal(board->requests, 0);
    assert_int_equal(board->outlet.slot, OUTLET_NO_SLOT);
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        assert_int_equal(board->slots[i].state, SLOT_FREE);
        assert_int_equal(board->slots[i].fd, -1);
        assert_int_equal(board->slots[i].first, FIRST_NONE);
        assert_int_equal(board->slots[i].left, LEFT_ALL);
        assert_int_equal(board->slots[i].stored, 0);
    }
    free(board);
}

/* The kernel writes into scratch[0] as it takes the byte, the worker into its slot afterwards. */
static void the_first_byte_of_a_request_is_known_at_any_moment(void **state)
{
    (void)state;
    static struct scoreboard board;
    scoreboard_reset(&board);
    assert_int_equal(scoreboard_first(&board, 3), FIRST_NONE);
    board.scratch[0] = 'x'; /* another's, long gone */
    assert_int_equal(scoreboard_first(&board, 3), FIRST_NONE);
    board.scratch[0] = FIRST_NONE;
    board.inlet.slot = 3; /* about to be read */
    assert_int_equal(scoreboard_first(&board, 3), FIRST_NONE);
    board.scratch[0] = '{'; /* it was, and the worker does not know it yet */
    assert_int_equal(scoreboard_first(&board, 3), '{');
    assert_int_equal(scoreboard_first(&board, 4), FIRST_NONE);
    board.slots[3].first = '{';
    board.inlet.slot = OUTLET_NO_SLOT;
    board.scratch[0] = 'P';
    assert_int_equal(scoreboard_first(&board, 3), '{');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_far_from_each_other_and_from_what_memory_is_filled_with),
        cmocka_unit_test(a_new_page_is_free_whatever_was_in_it),
        cmocka_unit_test(the_first_byte_of_a_request_is_known_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
