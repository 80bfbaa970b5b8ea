/* forked: a child knows that it is one, however it was made. */
#include "base/forked.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int exit_of(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_child_knows_that_it_is_one(void **state)
{
    (void)state;
    forked_begin();
    assert_false(forked_is_child());
    pid_t child = fork();
    if (child == 0) {
        _exit(forked_is_child() ? 7 : 8);
    }
    assert_int_equal(exit_of(child), 7);
    child = (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L); /* behind the back of libc */
    if (child == 0) {
        _exit(forked_is_child() ? 7 : 8);
    }
    assert_int_equal(exit_of(child), 7);
    assert_false(forked_is_child());
}

static void and_may_begin_anew(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        forked_begin();
        pid_t grandchild = fork();
        if (grandchild == 0) {
            _exit(forked_is_child() ? 7 : 8);
        }
        int status = 0;
        bool is_right = waitpid(grandchild, &status, 0) == grandchild && WEXITSTATUS(status) == 7 && !forked_is_child();
        _exit(is_right ? 7 : 8);
    }
    assert_int_equal(exit_of(child), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_knows_that_it_is_one),
        cmocka_unit_test(and_may_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
