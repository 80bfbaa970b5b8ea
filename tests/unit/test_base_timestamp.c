/* timestamp: RFC 3339 as the sidecar writes it, and what is none. */
#include "base/timestamp.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct time_row {
    const char *text;
    uint64_t seconds;
    uint64_t ns;
} time_rows[] = {
    {"1970-01-01T00:00:00Z", 0, 0},
    {"1970-01-01T00:00:00.000000001Z", 0, 1},
    {"2000-02-29T12:00:00Z", 951825600, 0},
    {"2024-02-29T23:59:60Z", 1709251200, 0},
    {"2026-11-29T22:11:42Z", 1795990302, 0},
    {"2026-11-29t22:11:42z", 1795990302, 0},
    {"2026-11-29 22:11:42Z", 1795990302, 0},
    {"2026-11-29T22:11:42.5+00:00", 1795990302, 500000000},
    {"2026-11-30T03:41:42.25+05:30", 1795990302, 250000000},
    {"2026-11-29T14:11:42-08:00", 1795990302, 0},
    {"2026-11-29T22:11:42.123456789123Z", 1795990302, 123456789},
};

static const char *const wrong_rows[] = {
    "",
    "soon",
    "2026-11-29",
    "2026-11-29T22:11:42",
    "2026-11-29T22:11:42.Z",
    "2026-11-29T22:11:42+05",
    "2026-11-29T22:11:42+05:3x",
    "2026-11-29T22:11:42Zx",
    "2026-13-29T22:11:42Z",
    "2026-00-29T22:11:42Z",
    "2026-02-29T22:11:42Z",
    "2100-02-29T22:11:42Z",
    "2026-11-31T22:11:42Z",
    "2026-11-29T24:11:42Z",
    "2026-11-29T22:60:42Z",
    "2026-11-29T22:11:61Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00+01:00",
    "9999-11-29T22:11:42Z",
    "x026-11-29T22:11:42Z",
    "2026-11-29T22:11:42+24:00",
};

static void each_time_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof time_rows / sizeof time_rows[0]; i++) {
        uint64_t ns = 0;
        if (!timestamp_parse(view_of(time_rows[i].text), &ns) ||
            ns != time_rows[i].seconds * CLOCK_SECOND + time_rows[i].ns) {
            fail_msg("%s: %llu", time_rows[i].text, (unsigned long long)ns);
        }
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_rows / sizeof wrong_rows[0]; i++) {
        uint64_t ns;
        if (timestamp_parse(view_of(wrong_rows[i]), &ns)) {
            fail_msg("%s", wrong_rows[i]);
        }
    }
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    const uint64_t last = UINT64_C(7289567999); /* of 2200 */
    uint64_t step = 86399 * 7 + 13;
    for (uint64_t seconds = 0; seconds <= last; seconds += step) {
        char text[TIMESTAMP_SIZE];
        uint64_t ns = 0;
        timestamp_write(seconds * CLOCK_SECOND + 7 * CLOCK_MS + 999999, text);
        assert_true(timestamp_parse(view_of(text), &ns));
        assert_int_equal(ns, seconds * CLOCK_SECOND + 7 * CLOCK_MS);
    }
    char text[TIMESTAMP_SIZE];
    timestamp_write(UINT64_C(1795990302) * CLOCK_SECOND + 500 * CLOCK_MS, text);
    assert_string_equal(text, "2026-11-29T22:11:42.500Z");
    timestamp_write(UINT64_MAX, text);
    assert_memory_equal(text, "2200-12-31T", 11);
    assert_true(timestamp_now() > UINT64_C(1700000000) * CLOCK_SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_time_is_read),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(what_was_written_is_read_back),
    };
    return cmocka_run_group_tests_name("timestamp", tests, NULL, NULL);
}
