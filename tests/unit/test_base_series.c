/* series: metrics in memory that processes share, and that the function can write over. */
#include "base/series.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct series *series;
static void *memory;

static int begin(void **state)
{
    (void)state;
    memory = mmap(NULL, SERIES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    series = series_make(memory, 3);
    return 0;
}

static int end(void **state)
{
    (void)state;
    return munmap(memory, SERIES_SIZE);
}

#define TEXTS(literal) ((struct view){literal, sizeof literal})

static const struct series_spec counter = {
    .kind = SERIES_COUNTER, .labels = 1, .texts = TEXTS("jobs_total\0Jobs.\0kind")};
static const struct series_spec gauge = {.kind = SERIES_GAUGE, .texts = TEXTS("open\0")};

static void the_same_is_found_again_and_another_is_refused(void **state)
{
    (void)state;
    uint32_t family = series_family(series, &counter);
    assert_int_not_equal(family, 0);
    assert_int_equal(series_family(series, &counter), family);
    struct series_spec other = counter;
    other.kind = SERIES_GAUGE;
    assert_int_equal(series_family(series, &other), 0);
    uint32_t sample = series_sample(series, family, TEXTS("a"));
    assert_int_not_equal(sample, 0);
    assert_int_equal(series_sample(series, family, TEXTS("a")), sample);
    assert_int_not_equal(series_sample(series, family, TEXTS("b")), sample);
}

static void a_full_region_has_no_room_and_keeps_what_it_has(void **state)
{
    (void)state;
    char name[32];
    uint32_t family = series_family(series, &counter);
    uint32_t first = series_sample(series, family, TEXTS("first"));
    uint32_t made = 0;
    int size;
    do {
        size = snprintf(name, sizeof name, "label-%u", made++);
    } while (series_sample(series, family, (struct view){name, (size_t)size + 1}) != 0);
    assert_true(made > 3000);
    assert_int_equal(series_sample(series, family, TEXTS("first")), first);
    struct series_reader reader = series_read(series);
    uint32_t found = 0;
    assert_true(series_next_family(&reader));
    while (series_next_sample(&reader)) {
        found++;
    }
    assert_int_equal(found, made); /* the last one had no room, "first" has */
    assert_false(series_next_family(&reader));
}

/* Four processes count in the same cells, and one of them is killed while it does. */
static void processes_lose_no_increment(void **state)
{
    (void)state;
    enum { EACH = 20000 };
    pid_t pids[4];
    for (int i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            _Atomic uint64_t *cell =
                series_cells(series, series_sample(series, series_family(series, &counter), TEXTS("x")));
            for (int j = 0; j < EACH || i == 3; j++) {
                series_add(i == 3 ? cell + 0 : cell, i == 3 ? 0 : 1);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    }
    assert_int_equal(kill(pids[3], 9), 0);
    assert_int_equal(waitpid(pids[3], NULL, 0), pids[3]);
    uint32_t sample = series_sample(series, series_family(series, &counter), TEXTS("x"));
    assert_true(series_get(series_cells(series, sample)) == 3.0 * EACH);
}

static void what_a_dead_worker_had_set_is_gone(void **state)
{
    (void)state;
    _Atomic uint64_t *cells = series_cells(series, series_sample(series, series_family(series, &gauge), TEXTS("")));
    series_set(&cells[0], 4);
    series_add(&cells[2], 1.5);
    series_clear(series, 0);
    assert_true(cells[0] == SERIES_UNSET && cells[1] == SERIES_UNSET);
    assert_true(series_get(&cells[2]) == 1.5);
    series_clear(series, 99);
}

static uint32_t read_all(void)
{
    uint32_t steps = 0;
    struct series_reader reader = series_read(series);
    while (series_next_family(&reader)) {
        steps += (uint32_t)strlen(reader.name);
        while (series_next_sample(&reader)) {
            steps += (uint32_t)(series_get(&reader.cells[reader.cell_count - 1]) > 0) + (uint32_t)strlen(reader.value);
        }
    }
    return steps;
}

/* Whatever the function writes there, reading ends and stays within the region (the sanitizers look). */
static void any_bytes_can_be_read(void **state)
{
    (void)state;
    srandom(7);
    for (int round = 0; round < 2000; round++) {
        memset(memory, 0, SERIES_SIZE);
        series = series_make(memory, 3);
        for (uint32_t i = 0; i < 3; i++) {
            (void)series_sample(series, series_family(series, &counter), (struct view){&"a\0b\0c"[2 * i], 2});
        }
        (void)series_sample(series, series_family(series, &gauge), TEXTS(""));
        uint32_t used = series->used;
        for (int i = 0; i < 1 + round % 20; i++) {
            ((unsigned char *)memory)[(size_t)random() % used] = (unsigned char)random();
        }
        (void)read_all();
        series_clear(series, 1);
        (void)series_sample(series, series_family(series, &counter), TEXTS("new"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_is_found_again_and_another_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_full_region_has_no_room_and_keeps_what_it_has, begin, end),
        cmocka_unit_test_setup_teardown(processes_lose_no_increment, begin, end),
        cmocka_unit_test_setup_teardown(what_a_dead_worker_had_set_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(any_bytes_can_be_read, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
