/* buffer: grows by doubling, never beyond its limit, and a failure changes nothing. */
#include "descriptors.h"

#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void an_empty_buffer_holds_no_memory(void **state)
{
    (void)state;
    struct buffer buffer = buffer_make(100);
    assert_null(buffer.data);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer.capacity, 0);
    assert_int_equal(buffer.limit, 100);
    assert_int_equal(buffer_append(&buffer, "", 0), BUFFER_OK);
    assert_int_equal(buffer.size, 0);
    buffer_done(&buffer);
    buffer_done(&buffer); /* once more does no harm */
}

static void appended_bytes_stay_in_order_over_every_growth(void **state)
{
    (void)state;
    struct buffer buffer = buffer_make(1 << 20);
    for (size_t i = 0; i < 100000; i++) {
        unsigned char byte = (unsigned char)(i * 31);
        assert_int_equal(buffer_append(&buffer, &byte, 1), BUFFER_OK);
        assert_true(buffer.capacity >= buffer.size && buffer.capacity <= buffer.limit);
    }
    assert_int_equal(buffer.size, 100000);
    for (size_t i = 0; i < 100000; i++) {
        assert_int_equal(buffer.data[i], (unsigned char)(i * 31));
    }
    buffer_done(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.limit, 1 << 20);
}

static void growing_is_doubling_so_that_appending_is_cheap(void **state)
{
    (void)state;
    struct buffer buffer = buffer_make(1 << 24);
    unsigned growths = 0;
    for (size_t i = 0; i < 1 << 20; i++) {
        size_t before = buffer.capacity;
        assert_int_equal(buffer_append(&buffer, "x", 1), BUFFER_OK);
        growths += buffer.capacity != before;
    }
    assert_true(growths <= 20);
    assert_true(buffer.capacity <= 2 * buffer.size);
    buffer_done(&buffer);
}

struct limit_row {
    const char *name;
    size_t limit;
    size_t first;  /* bytes appended before */
    size_t second; /* bytes reserved then */
    enum buffer_status expected;
};

static const struct limit_row limit_rows[] = {
    {"nothing fits into a limit of nothing", 0, 0, 1, BUFFER_LIMIT},
    {"nothing at all fits into a limit of nothing", 0, 0, 0, BUFFER_OK},
    {"one byte fits into a limit of one", 1, 0, 1, BUFFER_OK},
    {"the second byte does not fit into a limit of one", 1, 1, 1, BUFFER_LIMIT},
    {"a limit that is no power of two is reached exactly", 1000, 600, 400, BUFFER_OK},
    {"and not passed by one", 1000, 600, 401, BUFFER_LIMIT},
    {"the capacity of the first growth does not widen a small limit", 10, 5, 6, BUFFER_LIMIT},
    {"a sum that overflows is over the limit", SIZE_MAX, 8, SIZE_MAX, BUFFER_LIMIT},
    {"a sum that overflows by a little is over the limit", SIZE_MAX, 8, SIZE_MAX - 7, BUFFER_LIMIT},
    {"the largest number is over an ordinary limit", 1 << 20, 8, SIZE_MAX, BUFFER_LIMIT},
};

static void the_limit_is_reached_and_never_passed(void **state)
{
    (void)state;
    static const char bytes[1000] = "content";
    for (size_t i = 0; i < sizeof limit_rows / sizeof limit_rows[0]; i++) {
        const struct limit_row *row = &limit_rows[i];
        struct buffer buffer = buffer_make(row->limit);
        enum buffer_status first = buffer_append(&buffer, bytes, row->first);
        struct buffer before = buffer;
        enum buffer_status second = buffer_reserve(&buffer, row->second);
        bool unchanged = memcmp(&buffer, &before, sizeof buffer) == 0;
        bool content = row->first == 0 || memcmp(buffer.data, bytes, row->first) == 0;
        size_t capacity = buffer.capacity;
        size_t size = buffer.size;
        buffer_done(&buffer);
        if (first != BUFFER_OK || second != row->expected || !content || size != row->first || capacity > row->limit ||
            (second != BUFFER_OK && !unchanged) || (second == BUFFER_OK && capacity - size < row->second)) {
            fail_msg("%s: status %d, capacity %zu", row->name, (int)second, capacity);
        }
    }
}

static void what_malloc_refuses_changes_nothing(void **state)
{
    (void)state;
    struct buffer buffer = buffer_make(SIZE_MAX);
    assert_int_equal(buffer_append(&buffer, "abc", 3), BUFFER_OK);
    struct buffer before = buffer;
    assert_int_equal(buffer_reserve(&buffer, PTRDIFF_MAX), BUFFER_NO_MEMORY);
    assert_memory_equal(&buffer, &before, sizeof buffer);
    assert_memory_equal(buffer.data, "abc", 3);
    buffer_done(&buffer);
}

static void a_failed_append_appends_nothing(void **state)
{
    (void)state;
    struct buffer buffer = buffer_make(4);
    assert_int_equal(buffer_append(&buffer, "abc", 3), BUFFER_OK);
    assert_int_equal(buffer_append(&buffer, "de", 2), BUFFER_LIMIT);
    assert_int_equal(buffer.size, 3);
    assert_int_equal(buffer_append(&buffer, "d", 1), BUFFER_OK);
    assert_memory_equal(buffer.data, "abcd", 4);
    buffer_done(&buffer);
}

static void reset_keeps_memory_up_to_what_it_is_told(void **state)
{
    (void)state;
    struct buffer buffer = buffer_make(1 << 20);
    assert_int_equal(buffer_reserve(&buffer, 10000), BUFFER_OK);
    buffer.size = 10000;
    size_t capacity = buffer.capacity;
    buffer_reset(&buffer, capacity);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer.capacity, capacity);
    assert_non_null(buffer.data);
    buffer.size = 10000;
    buffer_reset(&buffer, capacity - 1);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer.capacity, 0);
    assert_null(buffer.data);
    assert_int_equal(buffer.limit, 1 << 20);
    buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(an_empty_buffer_holds_no_memory),
        DESCRIPTOR_TEST(appended_bytes_stay_in_order_over_every_growth),
        DESCRIPTOR_TEST(growing_is_doubling_so_that_appending_is_cheap),
        DESCRIPTOR_TEST(the_limit_is_reached_and_never_passed),
        DESCRIPTOR_TEST(what_malloc_refuses_changes_nothing),
        DESCRIPTOR_TEST(a_failed_append_appends_nothing),
        DESCRIPTOR_TEST(reset_keeps_memory_up_to_what_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
