/* fdholder: a process that is killed leaves its accepted connections to whoever asks; nothing else is given away. */
#include "descriptors.h"
#include "serving.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/control.h"
#include "server/fdholder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* All that an fdholder has given. */
static struct {
    uint32_t count;
    int fds[128];
    int32_t numbers[128];
} kept;

static bool collect(int channel)
{
    uint64_t deadline = fdholder_deadline();
    struct held some;
    enum fdholder_step step = fdholder_ask(channel) ? FDHOLDER_GAVE : FDHOLDER_SILENT;
    kept.count = 0;
    while (step == FDHOLDER_GAVE) {
        step = fdholder_take(channel, deadline, &some);
        for (uint32_t i = 0; i < some.count; i++) {
            assert_true(kept.count < 128);
            kept.fds[kept.count] = some.fds[i];
            kept.numbers[kept.count++] = some.numbers[i];
        }
    }
    return step == FDHOLDER_DONE;
}

/* A process with an fdholder that does `life`, then waits to be killed. Returns our end of the fdholder's channel. */
static int start(const struct serving *serving, void (*life)(const struct serving *serving, int channel),
                 pid_t *ret_pid)
{
    int ours;
    int theirs;
    int ready[2];
    char byte;
    assert_int_equal(control_pair(&ours, &theirs), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ours);
        if (fdholder_start(theirs, serving->listener.fd, NULL, PROTOCOL_AUTO) != 0) {
            _exit(1);
        }
        life(serving, theirs);
        (void)!write(ready[1], "x", 1);
        for (;;) {
            pause();
        }
    }
    close(theirs);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    *ret_pid = pid;
    return ours;
}

static void end(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void accept_all(const struct serving *serving, int channel)
{
    (void)channel;
    while (listener_accept(&serving->listener) >= 0) {
    }
}

/* Besides, files and sockets of all kinds; some at high numbers. */
static void accept_among_others(const struct serving *serving, int channel)
{
    int pair[2];
    (void)!socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    (void)!pipe(pair);
    (void)socket(AF_INET, SOCK_STREAM, 0);
    (void)caller_connect(serving); /* a connection to the listener, from the other side */
    accept_all(serving, channel);
    (void)fcntl(listener_accept(&serving->listener), F_DUPFD, 900);
}

static void the_connections_of_a_killed_process_are_all_there(void **state)
{
    (void)state;
    enum { CLIENTS = 70 }; /* more than one message takes */
    struct serving *serving = serving_make(0);
    int clients[CLIENTS];
    bool seen[1024] = {false};
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = caller_connect(serving);
    }
    pid_t pid;
    int channel = start(serving, accept_all, &pid);
    end(pid);
    assert_true(collect(channel));
    assert_int_equal(kept.count, CLIENTS);
    for (uint32_t i = 0; i < kept.count; i++) {
        assert_in_range(kept.numbers[i], 3, 1023);
        assert_false(seen[kept.numbers[i]]);
        seen[kept.numbers[i]] = true;
        assert_int_equal(send(kept.fds[i], "x", 1, MSG_NOSIGNAL), 1);
        fd_close(&kept.fds[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        char reply[8];
        assert_int_equal(caller_read(clients[i], reply, sizeof reply),
                         1); /* and the fdholder has ended: it is the end */
        close(clients[i]);
    }
    close(channel);
    serving_free(serving);
}

static void nothing_else_is_given_away(void **state)
{
    (void)state;
    struct serving *serving = serving_make(0);
    pid_t pid;
    int channel = start(serving, accept_among_others, &pid);
    end(pid);
    assert_true(collect(channel));
    assert_int_equal(kept.count, 1); /* the server's side of its own client */
    fd_close(&kept.fds[0]);
    close(channel);
    serving_free(serving);
}

static void accept_and_close_the_channel(const struct serving *serving, int channel)
{
    accept_all(serving, channel);
    (void)close(channel);
}

static void without_its_channel_the_fdholder_says_so_by_ending(void **state)
{
    (void)state;
    struct serving *serving = serving_make(0);
    int client = caller_connect(serving);
    pid_t pid;
    int channel = start(serving, accept_and_close_the_channel, &pid);
    end(pid);
    uint64_t before = clock_now();
    assert_false(collect(channel));
    assert_int_equal(kept.count, 0);
    assert_true(clock_now() - before < 5 * CLOCK_SECOND);
    close(client);
    close(channel);
    serving_free(serving);
}

/* The fdholder of this process, by what it calls itself. */
static pid_t find_fdholder(pid_t worker)
{
    char path[64];
    char text[256];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)worker, (int)worker);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    assert_int_equal(fclose(file), 0);
    return (pid_t)strtol(text, NULL, 10);
}

static void use_the_number_again(const struct serving *serving, int channel)
{
    int pair[2];
    accept_all(serving, channel);
    (void)!socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    (void)dup2(pair[0], channel);
}

/* Stopped and continued it looks the number up again, as it would if it first came to it so late. */
static void a_channel_whose_number_is_another_file_s_is_not_waited_for_without_end(void **state)
{
    (void)state;
    struct serving *serving = serving_make(0);
    int client = caller_connect(serving);
    char reply[8];
    pid_t pid;
    int channel = start(serving, use_the_number_again, &pid);
    pid_t fdholder = find_fdholder(pid);
    assert_true(fdholder > 0);
    usleep(20000); /* it waits */
    assert_int_equal(kill(fdholder, SIGSTOP), 0);
    assert_int_equal(kill(fdholder, SIGCONT), 0);
    usleep(20000);
    close(channel);
    assert_int_equal(kill(fdholder, 0), 0); /* it has not heard that */
    end(pid);
    assert_int_equal(caller_read(client, reply, sizeof reply), 0); /* the last copy is closed */
    close(client);
    serving_free(serving);
}

static void it_ends_when_nobody_can_ask_any_more(void **state)
{
    (void)state;
    struct serving *serving = serving_make(0);
    int client = caller_connect(serving);
    char reply[8];
    pid_t pid;
    int channel = start(serving, accept_all, &pid);
    close(channel);
    end(pid);
    assert_int_equal(caller_read(client, reply, sizeof reply), 0); /* the last copy is closed */
    close(client);
    serving_free(serving);
}

static void no_fdholder_is_no_answer(void **state)
{
    (void)state;
    int ours;
    int theirs;
    assert_int_equal(control_pair(&ours, &theirs), 0);
    assert_false(collect(-1));
    assert_false(collect(ours)); /* silence */
    close(theirs);
    assert_false(collect(ours));
    close(ours);
}

static void wait_for_children(const struct serving *serving, int channel)
{
    (void)serving;
    (void)channel;
    if (waitpid(-1, NULL, 0) != -1 || errno != ECHILD) {
        _exit(1);
    }
}

static void the_process_sees_no_child_in_it(void **state)
{
    (void)state;
    struct serving *serving = serving_make(0);
    pid_t pid;
    int channel = start(serving, wait_for_children, &pid);
    end(pid);
    close(channel);
    serving_free(serving);
}

static void a_low_limit_of_descriptors_hides_nothing(void **state)
{
    (void)state;
    struct serving *serving = serving_make(0);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = descriptors_count() + 12, .rlim_max = before.rlim_max};
    int client = caller_connect(serving);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0); /* below what one poll() asks about */
    pid_t pid;
    int channel = start(serving, accept_all, &pid);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    end(pid);
    assert_true(collect(channel));
    assert_int_equal(kept.count, 1);
    fd_close(&kept.fds[0]);
    close(client);
    close(channel);
    serving_free(serving);
}

/* The supervisor's table is nearly full: each lot is dealt with before the next is taken. */
static void a_few_numbers_are_enough_to_take_many(void **state)
{
    (void)state;
    enum { CLIENTS = 70 };
    struct serving *serving = serving_make(0);
    int clients[CLIENTS];
    struct rlimit before;
    struct held some;
    uint32_t taken = 0;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = caller_connect(serving);
    }
    pid_t pid;
    int channel = start(serving, accept_all, &pid);
    end(pid);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = descriptors_count() + HELD_MAX, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_true(fdholder_ask(channel));
    while (fdholder_take(channel, fdholder_deadline(), &some) == FDHOLDER_GAVE) {
        taken += some.count;
        for (uint32_t i = 0; i < some.count; i++) {
            fd_close(&some.fds[i]);
        }
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(taken, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
    }
    close(channel);
    serving_free(serving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(the_connections_of_a_killed_process_are_all_there),
        DESCRIPTOR_TEST(a_few_numbers_are_enough_to_take_many),
        DESCRIPTOR_TEST(nothing_else_is_given_away),
        DESCRIPTOR_TEST(without_its_channel_the_fdholder_says_so_by_ending),
        DESCRIPTOR_TEST(a_channel_whose_number_is_another_file_s_is_not_waited_for_without_end),
        DESCRIPTOR_TEST(it_ends_when_nobody_can_ask_any_more),
        DESCRIPTOR_TEST(no_fdholder_is_no_answer),
        DESCRIPTOR_TEST(the_process_sees_no_child_in_it),
        DESCRIPTOR_TEST(a_low_limit_of_descriptors_hides_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
