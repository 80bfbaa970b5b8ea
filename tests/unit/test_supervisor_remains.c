/* remains: process groups of the dead: asked to end, given their time, killed, and forgotten. */
#include "supervisor/remains.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW     (100 * CLOCK_SECOND)
#define KILL_AT (NOW + CLOCK_SECOND)

static struct remains remains;

static int begin(void **state)
{
    (void)state;
    remains = (struct remains){0};
    return prctl(PR_SET_CHILD_SUBREAPER, 1); /* the members come to us */
}

/* A group whose leader is dead and not reaped, with one member that obeys SIGTERM or does not. */
static pid_t make_group(bool obeys)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t leader = fork();
    assert_true(leader >= 0);
    if (leader == 0) {
        (void)setpgid(0, 0);
        if (fork() == 0) {
            (void)prctl(PR_SET_PDEATHSIG, 0);
            if (!obeys) {
                (void)signal(SIGTERM, SIG_IGN);
            }
            (void)!write(ready[1], "x", 1);
            close(ready[1]);
            for (;;) {
                pause();
            }
        }
        _exit(0);
    }
    char mark;
    assert_int_equal(read(ready[0], &mark, 1), 1);
    close(ready[0]);
    close(ready[1]);
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)leader, &info, WEXITED | WNOWAIT), 0);
    return leader;
}

static void reap(pid_t leader) { assert_int_equal(waitpid(leader, NULL, 0), leader); }

/* Waits for a group's last member. Returns the signal that ended it. */
static int await_member(pid_t group)
{
    int status = 0;
    assert_true(waitpid(-group, &status, 0) > 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool has_member(pid_t group)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PGID, (id_t)group, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == 0; /* none has ended */
}

static pid_t add_group(bool obeys)
{
    pid_t group = make_group(obeys);
    remains_terminate(group);
    reap(group);
    remains_add(&remains, group, KILL_AT);
    return group;
}

static void who_obeys_is_forgotten(void **state)
{
    (void)state;
    pid_t group = add_group(true);
    assert_int_equal(await_member(group), SIGTERM);
    assert_true(remains_tend(&remains, NOW) == CLOCK_NEVER);
    assert_int_equal(remains.count, 0);
}

static void an_empty_group_is_not_even_noted(void **state)
{
    (void)state;
    pid_t leader = fork();
    if (leader == 0) {
        (void)setpgid(0, 0);
        _exit(0);
    }
    reap(leader);
    remains_add(&remains, leader, KILL_AT);
    assert_int_equal(remains.count, 0);
}

static void who_does_not_has_his_time_and_is_killed(void **state)
{
    (void)state;
    pid_t group = add_group(false);
    assert_true(remains_tend(&remains, NOW) <= NOW + 100 * CLOCK_MS);
    assert_true(remains_tend(&remains, KILL_AT - 1) == KILL_AT);
    assert_true(has_member(group));
    assert_true(remains_tend(&remains, KILL_AT) == CLOCK_NEVER);
    assert_int_equal(await_member(group), SIGKILL);
    assert_int_equal(remains.count, 0);
}

static void one_that_is_stopped_hears_it(void **state)
{
    (void)state;
    pid_t group = make_group(true);
    assert_int_equal(kill(-group, SIGSTOP), 0);
    remains_terminate(group);
    reap(group);
    assert_int_equal(await_member(group), SIGTERM);
}

static void in_a_hurry_nobody_has_time(void **state)
{
    (void)state;
    pid_t group = add_group(false);
    remains_hurry(&remains);
    (void)remains_tend(&remains, NOW);
    assert_int_equal(await_member(group), SIGKILL);
}

static void a_number_that_is_ours_again_is_left_alone(void **state)
{
    (void)state;
    pid_t group = add_group(false);
    remains_forget(&remains, group);
    assert_true(remains_tend(&remains, KILL_AT) == CLOCK_NEVER);
    assert_true(has_member(group));
    assert_int_equal(kill(-group, SIGKILL), 0);
    assert_int_equal(await_member(group), SIGKILL);
}

static void where_there_are_too_many_the_oldest_has_had_its_time(void **state)
{
    (void)state;
    pid_t groups[REMAINS_MAX + 1];
    for (int i = 0; i <= REMAINS_MAX; i++) {
        groups[i] = add_group(false);
    }
    assert_int_equal(remains.count, REMAINS_MAX);
    assert_int_equal(await_member(groups[0]), SIGKILL);
    assert_true(has_member(groups[1]));
    (void)remains_tend(&remains, KILL_AT);
    for (int i = 1; i <= REMAINS_MAX; i++) {
        assert_int_equal(await_member(groups[i]), SIGKILL);
    }
}

int main(void)
{
    (void)alarm(60);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(who_obeys_is_forgotten, begin),
        cmocka_unit_test_setup(an_empty_group_is_not_even_noted, begin),
        cmocka_unit_test_setup(who_does_not_has_his_time_and_is_killed, begin),
        cmocka_unit_test_setup(one_that_is_stopped_hears_it, begin),
        cmocka_unit_test_setup(in_a_hurry_nobody_has_time, begin),
        cmocka_unit_test_setup(a_number_that_is_ours_again_is_left_alone, begin),
        cmocka_unit_test_setup(where_there_are_too_many_the_oldest_has_had_its_time, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
