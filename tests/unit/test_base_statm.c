/* statm: the right number of /proc/PID/statm, of this process and of others. */
#include "descriptors.h"

#include "base/statm.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { MORE = 64 << 20 };

/* What grows by MORE when that much is mapped, and when it is touched. */
static void each_number_is_the_one_it_is_called(void **state)
{
    (void)state;
    uint64_t data = statm_read(0, STATM_DATA);
    uint64_t resident = statm_read(0, STATM_RESIDENT);
    assert_true(data > 0 && resident > 0);
    char *memory = mmap(NULL, MORE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    assert_in_range(statm_read(0, STATM_DATA) - data, MORE, MORE + MORE / 8);
    assert_in_range(statm_read(0, STATM_RESIDENT), 1, resident + MORE / 8);
    for (size_t i = 0; i < MORE; i += 4096) {
        memory[i] = 1;
    }
    assert_in_range(statm_read(0, STATM_RESIDENT) - resident, MORE - MORE / 8, MORE + MORE / 8);
    assert_int_equal(munmap(memory, MORE), 0);
}

static void a_process_has_what_it_has_under_its_number(void **state)
{
    (void)state;
    assert_int_equal(statm_read(getpid(), STATM_DATA), statm_read(0, STATM_DATA));
    assert_true(statm_read(getppid(), STATM_RESIDENT) > 0);
    assert_int_equal(statm_read(INT_MAX, STATM_RESIDENT), 0); /* no process has this number */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(each_number_is_the_one_it_is_called),
        DESCRIPTOR_TEST(a_process_has_what_it_has_under_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
