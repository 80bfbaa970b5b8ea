/* status: what a page says when nothing has happened, and that memory which was overwritten says nothing. */
#include "server/status.h"

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
    struct status_page *page = malloc(sizeof *page);
    assert_non_null(page);
    memset(page, 0x5E, sizeof *page);
    status_reset(page);
    assert_int_equal(page->requests, 0);
    assert_int_equal(page->outlet.slot, OUTLET_NO_SLOT);
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        assert_int_equal(page->slots[i].state, SLOT_FREE);
        assert_int_equal(page->slots[i].fd, -1);
        assert_int_equal(page->slots[i].first, FIRST_NONE);
        assert_int_equal(page->slots[i].left, LEFT_ALL);
        assert_int_equal(page->slots[i].lead, NOT_PARKED);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_far_from_each_other_and_from_what_memory_is_filled_with),
        cmocka_unit_test(a_new_page_is_free_whatever_was_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
