/* marks: a request that has printed something writes one mark behind it, and one that has not writes none. */
#include "descriptors.h"

#include "base/marks.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct mark_head head;
static struct mark_counts counts[MARK_STREAMS];
static int out[2];
static int err[2];
static const struct log_request request = {.id = {"order-17", 8}, .traceparent = {"00-t", 4}};

static int begin(void **state)
{
    if (descriptors_note(state) != 0 || pipe2(out, O_CLOEXEC | O_NONBLOCK) != 0 ||
        pipe2(err, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -1;
    }
    memset(counts, 0, sizeof counts);
    head = mark_head_make();
    const int pipes[MARK_STREAMS] = {out[1], err[1]};
    marks_begin(&head, pipes, counts, true);
    return 0;
}

static int end(void **state)
{
    close(out[0]);
    close(out[1]);
    close(err[0]);
    close(err[1]);
    return descriptors_check(state);
}

#define MARK_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

static size_t take(int pipe, char *text, size_t size)
{
    ssize_t got = read(pipe, text, size);
    return got > 0 ? (size_t)got : 0;
}

/* Reads as the supervisor does. */
static size_t take_counted(int pipe, struct mark_counts *count, char *text, size_t size)
{
    atomic_fetch_or(&count->taken, 1);
    size_t got = take(pipe, text, size);
    atomic_store(&count->taken, (atomic_load(&count->taken) & ~UINT64_C(1)) + 2 * got);
    return got;
}

static void test_silence(void **state)
{
    (void)state;
    char text[64];
    marks_end(&request);
    marks_end(&request);
    assert_int_equal(take(out[0], text, sizeof text) + take(err[0], text, sizeof text), 0);
}

static void test_what_is_printed_is_marked_once_where_it_is(void **state)
{
    (void)state;
    char text[256];
    struct mark mark = {.size = 0};
    assert_int_equal(write(out[1], "hello\n", 6), 6);
    marks_end(&request);
    marks_end(&(struct log_request){.id = {"next", 4}});
    assert_int_equal(take(err[0], text, sizeof text), 0);
    size_t got = take_counted(out[0], &counts[0], text, sizeof text);
    assert_true(mark_find(&head, (struct view){text, got}, &mark));
    assert_int_equal(mark.at, 6);
    assert_int_equal(mark.size, got - 6);
    assert_int_equal(mark.kind, MARK_END);
    assert_true(view_is(mark.request.id, "order-17") && view_is(mark.request.traceparent, "00-t"));
    assert_int_equal(atomic_load(&counts[0].written), 1);
    marks_end(&request); /* the supervisor has taken all of it: that is no news */
    assert_int_equal(take(out[0], text, sizeof text), 0);
}

static void test_what_the_supervisor_has_taken_already_is_marked_too(void **state)
{
    (void)state;
    char text[256];
    assert_int_equal(write(out[1], "hello\n", 6), 6);
    assert_int_equal(take_counted(out[0], &counts[0], text, sizeof text), 6);
    marks_end(&request);
    assert_true(take(out[0], text, sizeof text) > MARK_HEAD_SIZE);
}

static void test_while_the_supervisor_reads_one_too_many_may_come(void **state)
{
    (void)state;
    char text[256];
    atomic_store(&counts[1].taken, 1);
    marks_end(&request);
    atomic_store(&counts[1].taken, 0);
    marks_end(&request);
    size_t size = take(err[0], text, sizeof text);
    assert_int_equal(size, MARK_HEAD_SIZE + 3 + 8 + 4);
}

static void test_a_pipe_that_is_another_file_now_gets_none(void **state)
{
    (void)state;
    char text[256];
    int other[2];
    assert_int_equal(pipe2(other, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(write(other[1], "theirs", 6), 6);
    assert_true(dup2(other[1], out[1]) >= 0);
    marks_end(&request);
    marks_end(&request);
    assert_int_equal(take(other[0], text, sizeof text), 6);
    close(other[0]);
    close(other[1]);
}

static void test_names_of_any_length(void **state)
{
    (void)state;
    char long_name[300];
    char text[MARK_SIZE_MAX];
    struct mark mark = {.size = 0};
    memset(long_name, 'n', sizeof long_name);
    const struct log_request about = {.id = {long_name, sizeof long_name},
                                      .traceparent = {long_name, sizeof long_name}};
    size_t size = marks_make(&about, text);
    assert_in_range(size, 2 * LOG_NAME_MAX, MARK_SIZE_MAX);
    for (size_t part = 0; part <= size; part++) {
        bool found = mark_find(&head, (struct view){text, part}, &mark);
        assert_int_equal(found, part > 0);
        assert_int_equal(found && mark.size > 0, part == size);
    }
    assert_int_equal(mark.request.id.size, LOG_NAME_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MARK_TEST(test_silence),
        MARK_TEST(test_what_is_printed_is_marked_once_where_it_is),
        MARK_TEST(test_what_the_supervisor_has_taken_already_is_marked_too),
        MARK_TEST(test_while_the_supervisor_reads_one_too_many_may_come),
        MARK_TEST(test_a_pipe_that_is_another_file_now_gets_none),
        MARK_TEST(test_names_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
