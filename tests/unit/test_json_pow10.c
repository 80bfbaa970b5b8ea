/* pow10: every entry against the table that tools/gen_pow10.py makes in exact arithmetic. */
#include "json/pow10.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

extern const struct pow10 pow10_exact[];

static void every_power_is_exact(void **state)
{
    (void)state;
    for (int k = POW10_FIRST; k <= POW10_LAST; k++) {
        assert_int_equal(pow10_floor(k).high, pow10_exact[k - POW10_FIRST].high);
        assert_int_equal(pow10_floor(k).low, pow10_exact[k - POW10_FIRST].low);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_power_is_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
