/* clock: deadlines that neither overflow nor wake the loop too early. */
#include "descriptors.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct timeout_row {
    const char *name;
    uint64_t now;
    uint64_t deadline;
    int expected;
};

static const struct timeout_row timeout_rows[] = {
    {"never waits for ever", 5, CLOCK_NEVER, -1},
    {"never waits for ever, also at the end of time", UINT64_MAX - 1, CLOCK_NEVER, -1},
    {"the present has passed", 1000, 1000, 0},
    {"the past has passed", 1000, 999, 0},
    {"the far past has passed", UINT64_MAX - 1, 0, 0},
    {"a nanosecond is rounded up, or the loop would spin", 0, 1, 1},
    {"a millisecond is one", 0, CLOCK_MS, 1},
    {"a millisecond and a nanosecond are two", 0, CLOCK_MS + 1, 2},
    {"a millisecond less a nanosecond is one", 0, CLOCK_MS - 1, 1},
    {"only the difference counts", 7 * CLOCK_SECOND, 7 * CLOCK_SECOND + 250 * CLOCK_MS, 250},
    {"a minute is the most", 0, 60 * CLOCK_SECOND, 60000},
    {"a minute and a bit is a minute", 0, 60 * CLOCK_SECOND + 1, 60000},
    {"the last deadline before never is a minute", 0, CLOCK_NEVER - 1, 60000},
};

static void timeouts_are_rounded_up_and_bounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof timeout_rows / sizeof timeout_rows[0]; i++) {
        const struct timeout_row *row = &timeout_rows[i];
        int found = clock_timeout(row->now, row->deadline);
        if (found != row->expected) {
            fail_msg("%s: %d, not %d", row->name, found, row->expected);
        }
    }
}

struct after_row {
    const char *name;
    uint64_t now;
    uint64_t span;
    uint64_t expected;
};

static const struct after_row after_rows[] = {
    {"a span is added", 10, 5, 15},
    {"no span is now", 10, 0, 10},
    {"a span without end is never", 10, CLOCK_NEVER, CLOCK_NEVER},
    {"a span without end is never, also at the start of time", 0, CLOCK_NEVER, CLOCK_NEVER},
    {"what overflows is never", 2, UINT64_MAX - 1, CLOCK_NEVER},
    {"the largest sum that does not overflow stands", 1, UINT64_MAX - 2, UINT64_MAX - 1},
};

static void deadlines_do_not_overflow(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof after_rows / sizeof after_rows[0]; i++) {
        const struct after_row *row = &after_rows[i];
        if (clock_after(row->now, row->span) != row->expected) {
            fail_msg("%s", row->name);
        }
    }
}

static void time_does_not_go_back(void **state)
{
    (void)state;
    uint64_t last = clock_now();
    assert_true(last > 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_now();
        assert_true(now >= last);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(timeouts_are_rounded_up_and_bounded),
        DESCRIPTOR_TEST(deadlines_do_not_overflow),
        DESCRIPTOR_TEST(time_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
