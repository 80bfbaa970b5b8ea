/* tally: what a worker counts, what of it survives its death at any moment, and what of it is believed. */
#include "server/tally.h"

#include "server/scoreboard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MS CLOCK_MS

static struct tally tally;
static struct tally seen;

static int begin(void **state)
{
    (void)state;
    memset(&tally, 0xAB, sizeof tally); /* what another process has left */
    tally_reset(&tally);
    tally_reset(&seen);
    return 0;
}

static void count(enum protocol protocol, uint32_t row, uint64_t span)
{
    _Atomic uint8_t pending = 1;
    struct tally_request request = {.began = 1000, .pending = row + 1};
    tally_count(&tally, protocol, &request, 1000 + span, 7, &pending);
    assert_int_equal(pending, 0);
}

static void outcomes_have_rows_of_their_own(void **state)
{
    (void)state;
    assert_int_equal(tally_row(&tally, ERR_NONE, view_of("")), ERR_NONE);
    assert_int_equal(tally_row(&tally, ERR_JSON, view_of("")), ERR_JSON);
    uint32_t key = tally_row(&tally, ERR_PROCESSING, view_of("KeyError"));
    assert_int_equal(key, TALLY_FIXED);
    assert_int_equal(tally_row(&tally, ERR_PROCESSING, view_of("KeyError")), key);
    assert_int_not_equal(tally_row(&tally, ERR_VALIDATION, view_of("KeyError")), key);
    assert_string_equal(tally.rows[key].type, "KeyError");
}

static void more_types_than_rows_are_counted_as_other(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < 2 * TALLY_ROWS; i++) {
        (void)snprintf(name, sizeof name, "Error%d", i);
        (void)tally_row(&tally, ERR_PROCESSING, view_of(name));
    }
    uint32_t row = tally_row(&tally, ERR_PROCESSING, view_of("OneMore"));
    assert_string_equal(tally.rows[row].type, "other");
    assert_int_equal(tally.rows[row].category, ERR_PROCESSING);
    assert_int_equal(tally.row_count, TALLY_ROWS);
}

static void a_long_name_is_cut_at_a_characters_border(void **state)
{
    (void)state;
    char name[200];
    memset(name, 'a', sizeof name);
    memcpy(name + TALLY_TYPE_SIZE - 2, "\xC3\xA9", 2);
    uint32_t row = tally_row(&tally, ERR_PROCESSING, (struct view){name, sizeof name});
    assert_int_equal(strlen(tally.rows[row].type), TALLY_TYPE_SIZE - 2);
    assert_int_equal(tally_row(&tally, ERR_PROCESSING, (struct view){name, sizeof name}), row);
}

static void times_go_into_the_bucket_whose_bound_they_do_not_exceed(void **state)
{
    (void)state;
    count(PROTOCOL_RAW, ERR_NONE, tally_bounds[3]);
    count(PROTOCOL_HTTP, ERR_NONE, tally_bounds[3] + 1);
    count(PROTOCOL_AUTO, ERR_NONE, tally_bounds[TALLY_BOUNDS - 1] + 1);
    const struct tally_times *times = &tally.counts.durations[ERR_NONE];
    assert_int_equal(times->buckets[3], 1);
    assert_int_equal(times->buckets[4], 1);
    assert_int_equal(times->buckets[TALLY_BOUNDS], 1);
    assert_int_equal(tally.counts.requests[0][ERR_NONE], 2); /* nothing told a protocol: answered in bare JSON */
    assert_int_equal(tally.counts.requests[PROTOCOL_HTTP - PROTOCOL_RAW][ERR_NONE], 1);
    assert_int_equal(tally.total, 3);
}

static void each_stage_lasts_from_one_moment_to_the_next(void **state)
{
    (void)state;
    _Atomic uint8_t pending = 1;
    struct tally_request request = {.began = 1 * MS,
                                    .whole = 2 * MS,
                                    .started = 4 * MS,
                                    .called = 7 * MS,
                                    .returned = 11 * MS,
                                    .replied = 16 * MS,
                                    .pending = 1};
    tally_count(&tally, PROTOCOL_RAW, &request, 22 * MS, 7, &pending);
    for (uint64_t i = 0; i < TALLY_STAGES; i++) {
        assert_int_equal(tally.counts.stages[i].sum, (i + 1) * MS);
    }
    assert_int_equal(tally.counts.durations[ERR_NONE].sum, 21 * MS);
}

static void a_refused_request_has_no_stage_that_it_did_not_reach(void **state)
{
    (void)state;
    _Atomic uint8_t pending = 1;
    struct tally_request request = {.began = 1 * MS, .pending = 1 + ERR_JSON};
    tally_count(&tally, PROTOCOL_RAW, &request, 3 * MS, 7, &pending);
    assert_int_equal(tally.counts.stages[TALLY_READ].sum, 2 * MS);
    assert_int_equal(tally.counts.stages[TALLY_FUNCTION].buckets[0], 0);
    assert_int_equal(tally.last_error, 3 * MS);
}

/* The worker dies after each of the stores in tally_count(): what it stored before is there, and nothing else. */
static void a_death_in_the_middle_of_counting_counts_once(void **state)
{
    (void)state;
    for (int stores = 0; stores <= 4; stores++) {
        (void)begin(NULL);
        count(PROTOCOL_RAW, ERR_NONE, 5 * MS);
        tally.entry.slot = 9;
        tally.entry.row = ERR_JSON;
        tally.entry.protocol = 0;
        tally.entry.bucket = 2;
        tally.entry.number = stores > 0 ? 2 : 1;
        tally.counts.requests[0][ERR_JSON] = stores > 1;
        tally.counts.durations[ERR_JSON].buckets[2] = stores > 2;
        tally.total = stores > 3 ? 2 : 1;
        bool begun = stores > 0;
        assert_int_equal(tally_settle(&tally), begun && stores <= 3 ? 9 : TALLY_NO_SLOT);
        assert_int_equal(tally.counts.requests[0][ERR_JSON], begun);
        assert_int_equal(tally.counts.durations[ERR_JSON].buckets[2], begun);
        assert_int_equal(tally.total, begun ? 2 : 1);
        assert_true(tally_take(&tally, &seen));
    }
}

static void settling_does_nothing_where_nothing_was_begun(void **state)
{
    (void)state;
    count(PROTOCOL_HTTP, ERR_NONE, 5 * MS);
    struct tally before = tally;
    assert_int_equal(tally_settle(&tally), TALLY_NO_SLOT);
    assert_memory_equal(&before, &tally, sizeof tally);
}

static void spoil_guard(void) { tally.end = 0; }
static void spoil_all(void) { memset(&tally, 0x5A, sizeof tally); }
static void spoil_sum(void) { tally.counts.requests[1][ERR_JSON] += 1000; }
static void spoil_zero(void) { memset(&tally.counts, 0, sizeof tally.counts); }
static void spoil_sent(void) { tally.counts.sent = 3; }
static void spoil_rows(void) { tally.row_count = TALLY_ROWS + 1; }

static void what_was_written_over_is_not_believed(void **state)
{
    (void)state;
    static void (*const spoilers[])(void) = {spoil_guard, spoil_all, spoil_sum, spoil_zero, spoil_sent, spoil_rows};
    for (size_t i = 0; i < sizeof spoilers / sizeof spoilers[0]; i++) {
        (void)begin(NULL);
        tally.counts.sent = 500;
        for (int j = 0; j < 10; j++) {
            count(PROTOCOL_RAW, ERR_NONE, MS);
        }
        assert_true(tally_take(&tally, &seen));
        struct tally before = seen;
        spoilers[i]();
        assert_false(tally_take(&tally, &seen));
        assert_memory_equal(&before, &seen, sizeof seen);
    }
}

static void sums_are_by_outcome_whatever_its_row(void **state)
{
    (void)state;
    struct tally sum;
    tally_reset(&sum);
    (void)tally_row(&sum, ERR_PROCESSING, view_of("First"));
    count(PROTOCOL_HTTP, tally_row(&tally, ERR_PROCESSING, view_of("KeyError")), MS);
    count(PROTOCOL_HTTP, ERR_NONE, MS);
    tally.counts.received = 17;
    tally.last_request = 40;
    tally_merge(&sum, &tally);
    tally_merge(&sum, &tally);
    uint32_t row = tally_row(&sum, ERR_PROCESSING, view_of("KeyError"));
    assert_int_equal(row, TALLY_FIXED + 1);
    assert_int_equal(sum.counts.requests[PROTOCOL_HTTP - PROTOCOL_RAW][row], 2);
    assert_int_equal(sum.counts.requests[PROTOCOL_HTTP - PROTOCOL_RAW][ERR_NONE], 2);
    assert_int_equal(sum.counts.received, 34);
    assert_int_equal(sum.last_request, 40);
    assert_int_equal(sum.total, 4);
    assert_true(tally_take(&sum, &seen));
}

/* The kernel has written how much of the reply went out; the worker died before it could add that. */
static void bytes_of_a_last_send_are_counted_by_the_kernels_note(void **state)
{
    (void)state;
    static struct scoreboard board;
    scoreboard_reset(&board);
    board.tally.counts.sent = 100;
    board.outlet.before = 100;
    board.outlet.left = 50;
    board.outlet.message.msg_len = 30;
    board.outlet.slot = 3;
    scoreboard_settle(&board);
    assert_int_equal(board.tally.counts.sent, 130);
    board.outlet.message.msg_len = OUTLET_UNSENT;
    scoreboard_settle(&board);
    assert_int_equal(board.tally.counts.sent, 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(outcomes_have_rows_of_their_own, begin),
        cmocka_unit_test_setup(more_types_than_rows_are_counted_as_other, begin),
        cmocka_unit_test_setup(a_long_name_is_cut_at_a_characters_border, begin),
        cmocka_unit_test_setup(times_go_into_the_bucket_whose_bound_they_do_not_exceed, begin),
        cmocka_unit_test_setup(each_stage_lasts_from_one_moment_to_the_next, begin),
        cmocka_unit_test_setup(a_refused_request_has_no_stage_that_it_did_not_reach, begin),
        cmocka_unit_test_setup(a_death_in_the_middle_of_counting_counts_once, begin),
        cmocka_unit_test_setup(settling_does_nothing_where_nothing_was_begun, begin),
        cmocka_unit_test_setup(what_was_written_over_is_not_believed, begin),
        cmocka_unit_test_setup(sums_are_by_outcome_whatever_its_row, begin),
        cmocka_unit_test_setup(bytes_of_a_last_send_are_counted_by_the_kernels_note, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
