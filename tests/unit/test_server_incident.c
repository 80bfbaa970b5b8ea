/* incident: what a worker notes is what the supervisor reads, also while both do so at once, and whatever the function
 * writes over it. */
#include "server/incident.h"

#include "base/text.h"
#include "base/timestamp.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { WRITERS = 4, ROUNDS = 20000 };

static struct incident_ring ring;

static int begin(void **state)
{
    (void)state;
    memset(&ring, 0, sizeof ring);
    return 0;
}

static void note(const char *text)
{
    struct incident incident;
    incident_make(&incident, ERR_PROCESSING, view_of("order-1"), view_of("KeyError"), view_of(text));
    text_copy(incident.file, sizeof incident.file, "one.recorded");
    incident_note(&ring, &incident);
}

static void what_is_noted_is_read(void **state)
{
    (void)state;
    struct incident incident;
    uint64_t before = timestamp_now();
    assert_false(incident_read(&ring, 0, &incident));
    note("missing");
    assert_true(incident_read(&ring, 0, &incident));
    assert_string_equal(incident.id, "order-1");
    assert_string_equal(incident.type, "KeyError");
    assert_string_equal(incident.text, "missing");
    assert_string_equal(incident.file, "one.recorded");
    assert_int_equal(incident.category, ERR_PROCESSING);
    assert_true(incident.at >= before && incident.at <= timestamp_now());
    assert_false(incident_read(&ring, 1, &incident));
    assert_false(incident_read(&ring, INCIDENTS_KEPT, &incident));
}

static void later_ones_take_the_places_of_the_first(void **state)
{
    (void)state;
    struct incident incident;
    for (uint32_t i = 0; i < INCIDENTS_KEPT + 3; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%u", i);
        note(text);
    }
    assert_int_equal(ring.count, INCIDENTS_KEPT + 3);
    for (uint32_t i = 0; i < INCIDENTS_KEPT + 3; i++) {
        assert_int_equal(incident_read(&ring, i, &incident), i >= 3);
    }
    assert_string_equal(incident.text, "18");
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    struct incident incident;
    char text[600];
    for (size_t i = 0; i + 3 < sizeof text; i += 3) {
        memcpy(text + i, "\xe2\x82\xac", 4);
    }
    incident_make(&incident, ERR_VALIDATION, view_of(text), view_of(text), view_of(text));
    incident_note(&ring, &incident);
    assert_true(incident_read(&ring, 0, &incident));
    assert_int_equal(strlen(incident.id), 63);
    assert_int_equal(strlen(incident.type), 63);
    assert_int_equal(strlen(incident.text), 255);
    incident_make(&incident, ERR_VALIDATION, (struct view){0}, (struct view){0}, (struct view){0});
    incident_note(&ring, &incident);
    assert_true(incident_read(&ring, 1, &incident));
    assert_string_equal(incident.text, "");
}

static void texts_end_whatever_was_written_over_them(void **state)
{
    (void)state;
    struct incident incident;
    note("x");
    memset(&ring.entries[0].incident, 'x', sizeof ring.entries[0].incident);
    assert_true(incident_read(&ring, 0, &incident));
    assert_int_equal(strlen(incident.id), INCIDENT_ID_SIZE - 1);
    assert_int_equal(strlen(incident.type), INCIDENT_TYPE_SIZE - 1);
    assert_int_equal(strlen(incident.text), INCIDENT_TEXT_SIZE - 1);
    assert_string_equal(error_code((enum error_category)incident.category), "server_error");
}

static void *write_all(void *letter)
{
    char text[INCIDENT_TEXT_SIZE];
    memset(text, *(const char *)letter, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < ROUNDS; i++) {
        note(text);
    }
    return NULL;
}

static void an_entry_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static char letters[WRITERS] = {'a', 'b', 'c', 'd'};
    pthread_t threads[WRITERS];
    uint32_t whole = 0;
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_all, &letters[i]), 0);
    }
    while (atomic_load(&ring.count) < WRITERS * ROUNDS) {
        struct incident incident;
        uint32_t number = atomic_load(&ring.count) - 1 - INCIDENTS_KEPT / 2;
        if (number < WRITERS * ROUNDS && incident_read(&ring, number, &incident)) {
            whole++;
            assert_int_equal(strspn(incident.text, (char[]){incident.text[0], '\0'}), INCIDENT_TEXT_SIZE - 1);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    print_message("%u entries were read whole\n", whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_noted_is_read, begin),
        cmocka_unit_test_setup(later_ones_take_the_places_of_the_first, begin),
        cmocka_unit_test_setup(long_texts_are_cut_between_characters, begin),
        cmocka_unit_test_setup(texts_end_whatever_was_written_over_them, begin),
        cmocka_unit_test_setup(an_entry_is_read_whole_or_not_at_all, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
