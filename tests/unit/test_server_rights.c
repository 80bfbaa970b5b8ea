/* rights: descriptors that nobody asked for are closed, and nobody waits for that. */
#include "capture.h"
#include "descriptors.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/control.h"
#include "server/hangup.h"
#include "server/rights.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINGER = 600 }; /* seconds, which no test waits */

static int peer = -1;

static int begin(void **state)
{
    int status = descriptors_note(state);
    capture_begin();
    return status;
}

static int end(void **state)
{
    while (waitpid(-1, NULL, 0) > 0) { /* the processes that have closed them */
    }
    capture_give_up();
    fd_close(&peer);
    return descriptors_check(state);
}

/* A TCP socket whose last close sleeps: its peer does not read. */
static int make_trap(void)
{
    static const struct linger lingers = {.l_onoff = 1, .l_linger = LINGER};
    static const char bytes[65536];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int trap = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(trap, (struct sockaddr *)&address, sizeof address), 0);
    fd_close(&peer);
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    while (send(trap, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    assert_int_equal(setsockopt(trap, SOL_SOCKET, SO_LINGER, &lingers, sizeof lingers), 0);
    close(listener);
    return trap;
}

/* Sends `data` with `fd`, `count` times, and keeps no copy. */
static void pass_on(int sender, const char *data, int fd, uint32_t count)
{
    union rights_space space;
    struct iovec part = {.iov_base = (char *)(uintptr_t)data, .iov_len = strlen(data)};
    memset(&space, 0, sizeof space);
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = space.bytes,
                            .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (uint32_t i = 0; i < count; i++) {
        memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
    }
    assert_int_equal(sendmsg(sender, &header, MSG_DONTWAIT | MSG_NOSIGNAL), strlen(data));
    close(fd);
}

static void a_close_that_lingers_is_not_waited_for(void **state)
{
    (void)state;
    uint64_t before = clock_now();
    int fds[2] = {make_trap(), -1};
    rights_close(fds, 2);
    assert_int_equal(fds[0], -1);
    assert_in_range(clock_now() - before, 0, 30 * CLOCK_SECOND);
    rights_close(NULL, 0);
}

static void what_comes_with_a_clients_bytes_is_closed(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 8, RIGHTS_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int pair[2];
        char got[16];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        size_t open = descriptors_count();
        struct iovec part = {.iov_base = got, .iov_len = sizeof got};
        assert_int_equal(send(pair[0], "ab", 2, 0), 2);
        pass_on(pair[0], "cd", make_trap(), counts[i]);
        uint64_t before = clock_now();
        assert_int_equal(rights_receive(pair[1], &part, 1), 4);
        assert_memory_equal(got, "abcd", 4);
        assert_int_equal(rights_receive(pair[1], &part, 1), -1);
        assert_int_equal(errno, EAGAIN);
        assert_int_equal(descriptors_count(), open + 1); /* the peer of the trap */
        assert_in_range(clock_now() - before, 0, 30 * CLOCK_SECOND);
        fd_close(&peer);
        close(pair[0]);
        close(pair[1]);
    }
}

static void a_connection_that_holds_some_is_hung_up_at_once(void **state)
{
    (void)state;
    int pair[2];
    char got;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    for (int i = 0; i < 3; i++) {
        pass_on(pair[0], "x", make_trap(), 1);
    }
    uint64_t before = clock_now();
    assert_int_equal(hangup(&pair[1]), 0);
    assert_in_range(clock_now() - before, 0, 30 * CLOCK_SECOND);
    assert_int_equal(recv(pair[0], &got, 1, 0), 0);
    close(pair[0]);
}

/* As a function may write to them. */
static void what_is_on_a_channel_and_no_message_is_closed(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, CONTROL_FDS_MAX + 1, RIGHTS_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int supervisor;
        int worker;
        struct control_message message;
        int fds[CONTROL_FDS_MAX];
        assert_int_equal(control_pair(&supervisor, &worker), 0);
        pass_on(worker, "garbage", make_trap(), counts[i]);
        uint64_t before = clock_now();
        assert_int_equal(control_receive(supervisor, &message, fds), -EPROTO);
        assert_in_range(clock_now() - before, 0, 30 * CLOCK_SECOND);
        close(supervisor);
        close(worker);
    }
}

#define RIGHTS_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGHTS_TEST(a_close_that_lingers_is_not_waited_for),
        RIGHTS_TEST(what_comes_with_a_clients_bytes_is_closed),
        RIGHTS_TEST(a_connection_that_holds_some_is_hung_up_at_once),
        RIGHTS_TEST(what_is_on_a_channel_and_no_message_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
