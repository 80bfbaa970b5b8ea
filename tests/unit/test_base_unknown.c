/* unknown: which variables of the environment are warned of, and with which name. */
#include "capture.h"
#include "descriptors.h"

#include "base/unknown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_distance_counts_changed_letters(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        size_t distance;
    } rows[] = {
        {"", "", 0},       {"a", "", 1},     {"", "abc", 3},           {"abc", "abc", 0},
        {"abc", "abd", 1}, {"abc", "ac", 1}, {"kitten", "sitting", 3}, {"WORKER", "WORKERS", 1},
        {"ab", "ba", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(unknown_distance(rows[i].a, rows[i].b), rows[i].distance);
        assert_int_equal(unknown_distance(rows[i].b, rows[i].a), rows[i].distance);
    }
    char longest[UNKNOWN_NAME_MAX + 2];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(unknown_distance(longest, "a"), SIZE_MAX);
    longest[UNKNOWN_NAME_MAX] = '\0';
    assert_int_equal(unknown_distance(longest, "a"), UNKNOWN_NAME_MAX - 1);
}

/* What is logged with one variable in the environment. */
static const char *warned_of(const char *name)
{
    clearenv();
    assert_int_equal(setenv(name, "secret", 1), 0);
    capture_begin();
    unknown_warn();
    const char *text = capture_end();
    assert_null(strstr(text, "secret"));
    return text;
}

static void a_misspelt_setting_is_warned_of_with_the_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *nearest; /* NULL: none is near; "": no warning */
    } rows[] = {
        {"ASYA_WORKERS", ""},
        {"ASYA_WORKER", "did you mean ASYA_WORKERS?"},
        {"ASYA_HANDLER_TIMOUT", "did you mean ASYA_HANDLER_TIMEOUT?"},
        {"ASYA_HANDLER_RESIZE_IMAGE", ""}, /* an actor's handler, as flows name it */
        {"ASYA_MAX_MESAGE_SIZE", "did you mean ASYA_MAX_MESSAGE_SIZE?"},
        {"ASYA_SOMETHING_ELSE_ALTOGETHER", NULL},
        {"ASYA_", NULL},
        {"ASYA_RABBITMQ_URL", ""},
        {"ASYA_RESILIENCY_ACTOR_TIMEOUT", ""},
        {"ASYA_ACTOR_NAME", ""},
        {"ASYA_LOAD", ""},
        {"ASYAWORKERS", ""},
        {"PATH", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = warned_of(rows[i].name);
        const char *wanted = rows[i].nearest == NULL ? "has no effect" : rows[i].nearest;
        bool right =
            wanted[0] == '\0' ? text[0] == '\0' : strstr(text, wanted) != NULL && strstr(text, rows[i].name) != NULL;
        if (!right) {
            fail_msg("%s: '%s'", rows[i].name, text);
        }
    }
    clearenv();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(the_distance_counts_changed_letters),
        DESCRIPTOR_TEST(a_misspelt_setting_is_warned_of_with_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
