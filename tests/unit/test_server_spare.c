/* spare: a few numbers that the function cannot take, for the moment in which a descriptor is received. */
#include "descriptors.h"

#include "base/fd.h"
#include "server/spare.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t soft_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

/* Takes all numbers there are; the first failure tells that there are none. */
static int fill(int *taken, int room)
{
    int count = 0;
    while (count < room && (taken[count] = dup(STDERR_FILENO)) >= 0) {
        count++;
    }
    return count;
}

static void what_is_found_is_the_lowest_free_number_and_stays_free(void **state)
{
    (void)state;
    int lowest = dup(STDERR_FILENO);
    close(lowest);
    assert_int_equal(spare_find(), lowest);
    assert_int_equal(spare_find(), lowest);
    descriptors_limit(0);
    int none = spare_find();
    descriptors_allow();
    assert_int_equal(none, -EMFILE);
}

static void where_numbers_are_scarce_more_are_lent_for_a_moment(void **state)
{
    (void)state;
    struct spare spare;
    int taken[100];
    descriptors_limit(40);
    uint64_t before = soft_limit();
    spare_keep(&spare);
    bool kept = spare.is_kept && soft_limit() == before && spare.limit == before; /* the hard limit is far above */
    uint64_t early = spare_lend(&spare, spare_find());
    int count = fill(taken, 100);
    close(taken[--count]);
    uint64_t lent = spare_lend(&spare, spare_find());
    int received[3] = {dup(STDERR_FILENO), dup(STDERR_FILENO), dup(STDERR_FILENO)};
    spare_take_back(lent);
    int none = dup(STDERR_FILENO);
    uint64_t after = soft_limit();
    bool all = true;
    for (int i = 0; i < 3; i++) {
        all = all && received[i] >= 0;
        fd_close(&received[i]);
    }
    while (count > 0) {
        close(taken[--count]);
    }
    descriptors_allow();
    assert_true(kept);
    assert_int_equal(early, 0);
    assert_int_equal(lent, before);
    assert_true(all);
    assert_int_equal(none, -1);
    assert_int_equal(after, before);
}

/* In a process of its own, which cannot raise its hard limit again. */
static int under_a_hard_limit(void)
{
    enum { NUMBERS = 128 };
    struct rlimit limit = {.rlim_cur = NUMBERS, .rlim_max = NUMBERS};
    struct spare spare;
    int taken[NUMBERS];
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1;
    }
    spare_keep(&spare);
    if (!spare.is_kept || spare.limit >= NUMBERS || soft_limit() != spare.limit) {
        return 2;
    }
    int count = fill(taken, NUMBERS);
    close(taken[count - 1]);
    int number = spare_find();
    uint64_t before = number < 0 ? 0 : spare_lend(&spare, number);
    if (before != spare.limit || dup(STDERR_FILENO) < 0 || dup(STDERR_FILENO) < 0) {
        return 3;
    }
    spare_take_back(before);
    if (soft_limit() != spare.limit) {
        return 4;
    }
    limit.rlim_cur = limit.rlim_max = 10; /* as a function may */
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 && spare_lend(&spare, number) == 0 && soft_limit() == 10 ? 0 : 5;
}

static void where_the_hard_limit_leaves_no_room_the_soft_one_is_lowered(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(under_a_hard_limit());
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(what_is_found_is_the_lowest_free_number_and_stays_free),
        DESCRIPTOR_TEST(where_numbers_are_scarce_more_are_lent_for_a_moment),
        DESCRIPTOR_TEST(where_the_hard_limit_leaves_no_room_the_soft_one_is_lowered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
