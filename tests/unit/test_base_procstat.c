/* procstat: processor time and share of memory of a process, whatever it is called. */
#include "descriptors.h"

#include "base/clock.h"
#include "base/procstat.h"
#include "base/statm.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

static void a_process_that_computes_is_seen_to(void **state)
{
    (void)state;
    (void)prctl(PR_SET_NAME, "a) 1 (b) 9 "); /* as no program should be called */
    uint64_t before = procstat_cpu(getpid());
    uint64_t end = clock_after(clock_now(), 20 * CLOCK_SECOND);
    while (procstat_cpu(getpid()) < before + 50 * CLOCK_MS) {
        assert_true(clock_now() < end);
    }
    assert_true(procstat_cpu(getpid()) < before + CLOCK_SECOND);
    assert_int_equal(procstat_cpu(INT_MAX), 0); /* no process has this number */
}

static void its_share_of_memory_is_not_more_than_what_it_has(void **state)
{
    (void)state;
    uint64_t share = procstat_pss(getpid());
    assert_in_range(share, 1, statm_read(0, STATM_RESIDENT) + (1 << 20));
    assert_int_equal(procstat_pss(INT_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(a_process_that_computes_is_seen_to),
        DESCRIPTOR_TEST(its_share_of_memory_is_not_more_than_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
