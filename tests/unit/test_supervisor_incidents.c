/* incidents: the last errors of all workers, in the order of their times, each once. */
#include "supervisor/incidents.h"

#include "base/timestamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct incidents incidents;
static struct incident_ring ring;
static uint32_t seen;

static int begin(void **state)
{
    (void)state;
    memset(&incidents, 0, sizeof incidents);
    memset(&ring, 0, sizeof ring);
    seen = 0;
    return 0;
}

static void add_at(uint64_t at)
{
    struct incident incident = {.at = at, .category = ERR_SERVER};
    incidents_add(&incidents, &incident, 0, "");
}

static void note(enum error_category category, struct view id, struct view type, struct view text)
{
    struct incident incident;
    incident_make(&incident, category, id, type, text);
    incident_note(&ring, &incident);
}

static void check_order(void)
{
    for (uint32_t i = 1; i < incidents.count; i++) {
        assert_true(incidents.kept[i - 1].incident.at <= incidents.kept[i].incident.at);
    }
}

static void they_are_kept_by_time(void **state)
{
    (void)state;
    static const uint64_t times[] = {5, 3, 9, 1, 7, 7, 2};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        add_at(times[i]);
        check_order();
    }
    assert_int_equal(incidents.count, 7);
    for (uint64_t at = 100; at < 100 + INCIDENTS_KEPT; at++) {
        add_at(at);
        check_order();
    }
    assert_int_equal(incidents.count, INCIDENTS_KEPT);
    assert_int_equal(incidents.kept[0].incident.at, 100);
    add_at(50); /* older than all that are kept */
    assert_int_equal(incidents.kept[0].incident.at, 100);
    add_at(101);
    assert_int_equal(incidents.kept[0].incident.at, 101);
    check_order();
}

static void each_is_collected_once(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        note(ERR_JSON, view_of(""), view_of(""), view_of("bad"));
    }
    incidents_collect(&incidents, &ring, &seen, 4);
    incidents_collect(&incidents, &ring, &seen, 4);
    assert_int_equal(incidents.count, 3);
    assert_int_equal(incidents.kept[2].worker, 4);
    note(ERR_JSON, view_of(""), view_of(""), view_of("last"));
    incidents_collect(&incidents, &ring, &seen, 4);
    assert_int_equal(incidents.count, 4);
    assert_string_equal(incidents.kept[3].incident.text, "last");
}

static void of_many_the_last_are_collected(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", i);
        note(ERR_JSON, view_of(""), view_of(""), view_of(text));
    }
    incidents_collect(&incidents, &ring, &seen, 0);
    assert_int_equal(incidents.count, INCIDENTS_KEPT);
    assert_string_equal(incidents.kept[0].incident.text, "984");
}

static void a_ring_that_was_written_over_is_bounded(void **state)
{
    (void)state;
    note(ERR_JSON, view_of(""), view_of(""), view_of("x"));
    ring.entries[0].incident.at = UINT64_MAX;
    incidents_collect(&incidents, &ring, &seen, 0);
    assert_int_equal(incidents.count, 1);
    assert_true(incidents.kept[0].incident.at <= timestamp_now());
    ring.count = UINT32_MAX;
    incidents_collect(&incidents, &ring, &seen, 0);
    ring.count = 3;
    incidents_collect(&incidents, &ring, &seen, 0);
    memset(&ring, 0xFF, sizeof ring);
    incidents_collect(&incidents, &ring, &seen, 0);
    assert_in_range(incidents.count, 1, INCIDENTS_KEPT);
}

static void an_error_of_the_supervisor_comes_with_its_stack(void **state)
{
    (void)state;
    struct error err;
    static char stack[2 * INCIDENTS_STACK_SIZE];
    memset(stack, 's', sizeof stack - 1);
    error_set_processing(&err, "WorkerCrashed", "the worker was killed");
    incidents_add_error(&incidents, &err, "order-1", "one.recorded", INCIDENTS_NO_WORKER, stack);
    assert_string_equal(incidents.kept[0].incident.type, "WorkerCrashed");
    assert_string_equal(incidents.kept[0].incident.id, "order-1");
    assert_string_equal(incidents.kept[0].incident.file, "one.recorded");
    assert_int_equal(strlen(incidents.kept[0].stack), INCIDENTS_STACK_SIZE - 1);
    assert_int_equal(incidents.kept[0].worker, INCIDENTS_NO_WORKER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(they_are_kept_by_time, begin),
        cmocka_unit_test_setup(each_is_collected_once, begin),
        cmocka_unit_test_setup(of_many_the_last_are_collected, begin),
        cmocka_unit_test_setup(a_ring_that_was_written_over_is_bounded, begin),
        cmocka_unit_test_setup(an_error_of_the_supervisor_comes_with_its_stack, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
