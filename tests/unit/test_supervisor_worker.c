/* worker: what belongs to one worker is made before its fork and gone after its end, on both sides. */
#include "descriptors.h"

#include "base/clock.h"
#include "server/control.h"
#include "supervisor/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct worker worker; /* large */

static void free_page(void) { worker_drop_board(&worker); }

static void a_worker_starts_down_with_an_empty_page(void **state)
{
    (void)state;
    size_t before = descriptors_count();
    assert_int_equal(worker_init(&worker, 7), 0);
    assert_int_equal(worker.state, WORKER_DOWN);
    assert_int_equal(worker.index, 7);
    assert_int_equal(worker.pid, 0);
    assert_int_equal(worker.control, -1);
    assert_non_null(worker.board);
    assert_int_equal(descriptors_count(), before);
    free_page();
}

static void a_life_leaves_no_descriptor(void **state)
{
    (void)state;
    assert_int_equal(worker_init(&worker, 0), 0);
    for (int life = 0; life < 20; life++) {
        size_t before = descriptors_count();
        struct worker_ends ends = WORKER_ENDS_NONE;
        assert_int_equal(worker_prepare(&worker, NULL, &ends), 0);
        assert_true(ends.control >= 0 && ends.stack >= 0 && ends.fdholder >= 0);
        assert_true(worker.control >= 0 && worker.fdholder >= 0 && worker.fdstore.count > 0);
        assert_int_equal(worker.board->requests, 0); /* nothing of the life before */
        assert_int_equal(worker.board->slots[3].state, SLOT_FREE);
        worker.board->requests = 99;
        worker.board->slots[3].state = SLOT_RUNNING;
        pid_t child = fork();
        if (child == 0) {
            pause();
        }
        worker_forked(&worker, child, &ends, clock_now());
        assert_int_equal(ends.control, -1);
        assert_int_equal(ends.stack, -1);
        assert_int_equal(worker.state, WORKER_STARTING);
        assert_int_equal(worker.pid, child);
        worker_kill(&worker, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        worker_ended(&worker);
        assert_int_equal(worker.state, WORKER_DOWN);
        assert_int_equal(worker.pid, 0);
        assert_int_equal(descriptors_count(), before);
    }
    worker_ended(&worker); /* once more does no harm */
    free_page();
}

static void everything_is_closed_on_exec(void **state)
{
    (void)state;
    assert_int_equal(worker_init(&worker, 0), 0);
    struct worker_ends ends = WORKER_ENDS_NONE;
    assert_int_equal(worker_prepare(&worker, NULL, &ends), 0);
    const int fds[] = {ends.control,   ends.stack,   ends.fdholder,          worker.fdholder,
                       worker.control, worker.stack, worker.fdstore.send[0], worker.fdstore.receive[0]};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    worker_ends_done(&ends);
    worker_ended(&worker);
    free_page();
}

static void without_descriptors_nothing_is_left_half_made(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(worker_init(&worker, 0), 0);
    size_t before = descriptors_count();
    int succeeded = 0;
    for (rlim_t room = before; room < before + 60; room++) {
        struct rlimit low = {.rlim_cur = room, .rlim_max = limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        struct worker_ends ends = {.control = -5, .stack = -5, .fdholder = -5};
        int status = worker_prepare(&worker, NULL, &ends);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (status == 0) {
            succeeded++;
            worker_ends_done(&ends);
            worker_ended(&worker);
        } else {
            assert_int_equal(status, -EMFILE);
            assert_int_equal(ends.control, -5); /* written only on success */
            assert_int_equal(ends.stack, -5);
            assert_int_equal(ends.fdholder, -5);
        }
        assert_int_equal(worker.state, WORKER_DOWN);
        assert_int_equal(descriptors_count(), before);
    }
    assert_true(succeeded > 0 && succeeded < 60);
    free_page();
}

static void the_page_is_shared_with_the_process(void **state)
{
    (void)state;
    assert_int_equal(worker_init(&worker, 0), 0);
    pid_t child = fork();
    if (child == 0) {
        worker.board->requests = 42;
        worker.board->slots[SLOTS_MAX - 1].state = SLOT_RUNNING;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(worker.board->requests, 42);
    assert_int_equal(worker.board->slots[SLOTS_MAX - 1].state, SLOT_RUNNING);
    free_page();
}

static void a_sibling_lets_go_of_everything(void **state)
{
    (void)state;
    size_t before = descriptors_count();
    assert_int_equal(worker_init(&worker, 0), 0);
    struct worker_ends ends = WORKER_ENDS_NONE;
    assert_int_equal(worker_prepare(&worker, NULL, &ends), 0);
    worker_ends_done(&ends);
    worker_forget(&worker);
    assert_null(worker.board);
    assert_int_equal(descriptors_count(), before);
}

static void further_slots_are_taken_over_up_to_the_limit(void **state)
{
    (void)state;
    memset(&worker, 0, sizeof worker);
    worker.control = worker.stack = worker.fdholder = worker.printed[0] = worker.printed[1] = -1;
    worker.fdstore.count = SLOTS_MAX - 2;
    memset(worker.fdstore.send, 0xFF, sizeof worker.fdstore.send);
    memset(worker.fdstore.receive, 0xFF, sizeof worker.fdstore.receive);
    int fds[5];
    for (int i = 0; i < 5; i++) {
        fds[i] = dup(STDERR_FILENO);
    }
    int kept[2] = {fds[0], fds[1]};
    size_t before = descriptors_count();
    assert_int_equal(worker_add_slots(&worker, fds, 5, INT_MAX), 2);
    assert_int_equal(worker.fdstore.count, SLOTS_MAX);
    assert_int_equal(worker.fdstore.receive[SLOTS_MAX - 2], kept[0]);
    assert_int_equal(worker.fdstore.receive[SLOTS_MAX - 1], kept[1]);
    assert_int_equal(worker.fdstore.send[SLOTS_MAX - 1], -1);
    assert_int_equal(descriptors_count(), before - 3);
    worker_ended(&worker);
}

static void slots_leave_the_last_descriptors_free(void **state)
{
    (void)state;
    memset(&worker, 0, sizeof worker);
    worker.control = worker.stack = worker.fdholder = worker.printed[0] = worker.printed[1] = -1;
    int fds[3] = {dup(STDERR_FILENO), dup(STDERR_FILENO), -1};
    size_t before = descriptors_count();
    assert_int_equal(worker_add_slots(&worker, fds, 3, fds[1]), 1);
    assert_int_equal(worker.fdstore.count, 3); /* the worker counts them too */
    assert_int_equal(worker.fdstore.receive[1], -1);
    assert_int_equal(worker.fdstore.receive[2], -1);
    assert_int_equal(descriptors_count(), before - 1);
    worker_ended(&worker);
}

static void stacks_are_read_as_text_and_long_ones_cut(void **state)
{
    (void)state;
    int ends[2];
    char text[16];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    memset(&worker, 0, sizeof worker);
    worker.stack = ends[0];
    worker_read_stack(&worker, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(write(ends[1], "short", 5), 5);
    worker_read_stack(&worker, text, sizeof text);
    assert_string_equal(text, "short");
    assert_int_equal(write(ends[1], "fifteen bytes..", 15), 15);
    worker_read_stack(&worker, text, sizeof text);
    assert_string_equal(text, "fifteen bytes..");
    assert_int_equal(write(ends[1], "all\fthe one\f", 12), 12); /* of all threads; of the call that is meant */
    worker_read_stack(&worker, text, sizeof text);
    assert_string_equal(text, "the oneall");
    static char large[60000];
    memset(large, 'x', sizeof large);
    assert_int_equal(write(ends[1], large, sizeof large), sizeof large);
    worker_read_stack(&worker, text, sizeof text);
    assert_string_equal(text, "xxxxxxxxxxxxxxx");
    worker_read_stack(&worker, text, sizeof text); /* the rest does not turn up later */
    assert_string_equal(text, "");
    worker_read_stack(&worker, text, 1);
    assert_string_equal(text, "");
    close(ends[0]);
    close(ends[1]);
}

static void who_writes_stacks_for_ever_does_not_hold_the_supervisor(void **state)
{
    (void)state;
    int ends[2];
    char text[64];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    pid_t child = fork();
    if (child == 0) {
        static char large[65536];
        (void)fcntl(ends[1], F_SETFL, 0);
        while (write(ends[1], large, sizeof large) > 0) {
        }
        _exit(0);
    }
    memset(&worker, 0, sizeof worker);
    worker.stack = ends[0];
    usleep(20000);
    uint64_t start = clock_now();
    for (int i = 0; i < 10; i++) {
        worker_read_stack(&worker, text, sizeof text);
    }
    assert_true(clock_now() - start < 5 * CLOCK_SECOND);
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
    close(ends[1]);
}

static void who_was_killed_and_has_not_ended_is_left_behind(void **state)
{
    (void)state;
    assert_int_equal(worker_init(&worker, 0), 0);
    const uint64_t now = 100 * CLOCK_SECOND;
    uint64_t next = CLOCK_NEVER;
    worker.pid = 1;
    assert_false(worker_is_lost(&worker, now, &next));
    assert_int_equal(next, CLOCK_NEVER);
    worker.killed_at = now;
    assert_false(worker_is_lost(&worker, now + CLOCK_SECOND - 1, &next));
    assert_int_equal(next, now + CLOCK_SECOND);
    assert_true(worker_is_lost(&worker, now + CLOCK_SECOND, &next));
    worker.pid = 0; /* it has ended */
    assert_false(worker_is_lost(&worker, now + CLOCK_SECOND, &next));
    worker.board->requests = 7;
    worker_lose(&worker);
    assert_int_equal(worker.board->requests, 0); /* the next one has another page */
    free_page();
}

/* What else is in its group has its time once it is dead (remains). */
static void a_kill_is_for_the_process(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    pid_t member = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)setpgid(0, 0);
        pid_t grandchild = fork();
        if (grandchild != 0) {
            (void)!write(ends[1], &grandchild, sizeof grandchild);
        }
        for (;;) {
            pause();
        }
    }
    (void)setpgid(child, child);
    assert_int_equal(read(ends[0], &member, sizeof member), (ssize_t)sizeof member);
    memset(&worker, 0, sizeof worker);
    worker.pid = child;
    worker_kill(&worker, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(kill(-child, 0), 0); /* the other one is there */
    assert_int_equal(kill(member, SIGKILL), 0);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    worker.pid = 0;
    worker_kill(&worker, SIGKILL); /* of nobody: nothing happens, above all not to us */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(a_worker_starts_down_with_an_empty_page),
        DESCRIPTOR_TEST(a_life_leaves_no_descriptor),
        DESCRIPTOR_TEST(everything_is_closed_on_exec),
        DESCRIPTOR_TEST(without_descriptors_nothing_is_left_half_made),
        DESCRIPTOR_TEST(the_page_is_shared_with_the_process),
        DESCRIPTOR_TEST(a_sibling_lets_go_of_everything),
        DESCRIPTOR_TEST(further_slots_are_taken_over_up_to_the_limit),
        DESCRIPTOR_TEST(slots_leave_the_last_descriptors_free),
        DESCRIPTOR_TEST(stacks_are_read_as_text_and_long_ones_cut),
        DESCRIPTOR_TEST(who_writes_stacks_for_ever_does_not_hold_the_supervisor),
        DESCRIPTOR_TEST(who_was_killed_and_has_not_ended_is_left_behind),
        DESCRIPTOR_TEST(a_kill_is_for_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
