/* stock: which buffers are kept, which one a request gets, and when they are given back. */
#include "base/clock.h"
#include "server/stock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LIMIT = 1 << 26 };

static struct buffer buffer_of(size_t capacity)
{
    struct buffer buffer = buffer_make(LIMIT);
    assert_int_equal(buffer_reserve(&buffer, capacity), BUFFER_OK);
    return buffer;
}

static struct stock make(void) { return (struct stock){.request = buffer_make(LIMIT), .reply = buffer_make(LIMIT)}; }

static void keep(struct stock *stock, size_t capacity)
{
    struct buffer buffer = buffer_of(capacity);
    stock_keep(stock, &stock->request, &buffer);
    assert_null(buffer.data);
}

static void the_largest_is_kept_of_those_that_are_neither_small_nor_huge(void **state)
{
    (void)state;
    static const struct {
        size_t capacity, kept;
    } rows[] = {{STOCK_LEAST / 2, 0},           {STOCK_LEAST, STOCK_LEAST},        {STOCK_LEAST * 4, STOCK_LEAST * 4},
                {STOCK_LEAST, STOCK_LEAST * 4}, {STOCK_MOST * 2, STOCK_LEAST * 4}, {STOCK_MOST, STOCK_MOST}};
    struct stock stock = make();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        keep(&stock, rows[i].capacity);
        assert_int_equal(stock.request.capacity, rows[i].kept);
    }
    assert_int_equal(stock_tend(&stock, clock_now() + CLOCK_SECOND), CLOCK_NEVER);
}

static void a_request_gets_it_with_what_has_arrived_unless_it_has_more(void **state)
{
    (void)state;
    struct stock stock = make();
    keep(&stock, STOCK_LEAST);
    struct buffer request = buffer_make(LIMIT);
    assert_int_equal(buffer_append(&request, "begun", 5), BUFFER_OK);
    stock_take(&stock, &request);
    assert_int_equal(request.capacity, STOCK_LEAST);
    assert_int_equal(request.size, 5);
    assert_memory_equal(request.data, "begun", 5);
    assert_true(stock.request.capacity < STOCK_LEAST); /* its former one */
    stock_take(&stock, &request);
    assert_int_equal(request.capacity, STOCK_LEAST);
    keep(&stock, STOCK_LEAST);
    stock_take(&stock, &request); /* it would not be larger */
    assert_int_equal(stock.request.capacity, STOCK_LEAST);
    buffer_done(&request);
    assert_int_equal(stock_tend(&stock, clock_now() + CLOCK_SECOND), CLOCK_NEVER);
}

static void both_are_given_back_a_second_after_the_last_use(void **state)
{
    (void)state;
    struct stock stock = make();
    uint64_t before = clock_now();
    assert_int_equal(stock_tend(&stock, before), CLOCK_NEVER);
    keep(&stock, STOCK_LEAST);
    stock.reply = buffer_of(2 * STOCK_IDLE);
    uint64_t due = stock_tend(&stock, before + CLOCK_SECOND / 2);
    assert_in_range(due, before + CLOCK_SECOND, clock_now() + CLOCK_SECOND);
    assert_int_equal(stock.request.capacity, STOCK_LEAST);
    assert_int_equal(stock_tend(&stock, due), CLOCK_NEVER);
    assert_int_equal(stock.request.capacity + stock.reply.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_is_kept_of_those_that_are_neither_small_nor_huge),
        cmocka_unit_test(a_request_gets_it_with_what_has_arrived_unless_it_has_more),
        cmocka_unit_test(both_are_given_back_a_second_after_the_last_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
