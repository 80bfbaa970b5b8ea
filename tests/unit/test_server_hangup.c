/* hangup: whatever a client has sent by then, it reads its reply and then the end, never a reset. */
#include "descriptors.h"

#include "server/hangup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const char reply[] = "{\"status\":\"ok\",\"result\":1}";

/* A client, and in *ret_server the other end, which has answered. */
static int make_client(int *ret_server)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(send(pair[1], reply, sizeof reply, 0), sizeof reply);
    *ret_server = pair[1];
    return pair[0];
}

/* The client finds the reply and the end of the connection. Closes it. */
static void check_client(int client)
{
    char bytes[64];
    assert_int_equal(recv(client, bytes, sizeof bytes, MSG_DONTWAIT), sizeof reply);
    assert_memory_equal(bytes, reply, sizeof reply);
    assert_int_equal(recv(client, bytes, sizeof bytes, MSG_DONTWAIT), 0);
    close(client);
}

static size_t fill(int client)
{
    static const char bytes[65536];
    size_t size = 0;
    ssize_t sent;
    while ((sent = send(client, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
        size += (size_t)sent;
    }
    return size;
}

static void what_is_queued_makes_no_reset(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 16384, 16385, 70000};
    static const char bytes[70000];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int server;
        int client = make_client(&server);
        assert_int_equal(send(client, bytes, sizes[i], 0), sizes[i]);
        assert_int_equal(hangup(&server), 0);
        assert_int_equal(server, -1);
        check_client(client);
    }
}

static void nor_does_all_that_a_socket_holds(void **state)
{
    (void)state;
    int server;
    int client = make_client(&server);
    assert_true(fill(client) > 100000);
    assert_int_equal(hangup(&server), 0);
    check_client(client);
}

static void nor_what_came_before_a_half_close(void **state)
{
    (void)state;
    int server;
    int client = make_client(&server);
    assert_int_equal(send(client, "\n", 1, 0), 1);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    assert_int_equal(hangup(&server), 0);
    check_client(client);
}

static void the_client_sees_the_end_though_somebody_holds_a_copy(void **state)
{
    (void)state;
    int server;
    int client = make_client(&server);
    int copy = fcntl(server, F_DUPFD_CLOEXEC, 0);
    assert_int_equal(send(client, "\n", 1, 0), 1);
    assert_int_equal(hangup(&server), 0);
    assert_int_equal(send(client, "\n", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    close(copy);
    check_client(client);
}

static void a_client_that_is_gone_is_no_error(void **state)
{
    (void)state;
    int server;
    close(make_client(&server));
    assert_int_equal(hangup(&server), 0);
}

static atomic_bool over;

static void *send_for_ever(void *client)
{
    while (!atomic_load(&over) && send(*(int *)client, "more", 4, MSG_NOSIGNAL | MSG_DONTWAIT) != -1) {
    }
    return NULL;
}

static void nor_does_a_client_that_sends_meanwhile(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        int server;
        int client = make_client(&server);
        pthread_t sender;
        atomic_store(&over, false);
        assert_int_equal(pthread_create(&sender, NULL, send_for_ever, &client), 0);
        assert_int_equal(hangup(&server), 0);
        atomic_store(&over, true);
        pthread_join(sender, NULL);
        check_client(client);
    }
}

static void what_is_no_connection_is_said_and_closed(void **state)
{
    (void)state;
    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(hangup(&file), -ENOTSOCK);
    assert_int_equal(file, -1);
    int closed = open("/dev/null", O_RDWR | O_CLOEXEC);
    close(closed);
    assert_int_equal(hangup(&closed), -EBADF);
    int loose = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(hangup(&loose), 0);
}

#define HANGUP_TEST(function) cmocka_unit_test_setup_teardown(function, descriptors_note, descriptors_check)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HANGUP_TEST(what_is_queued_makes_no_reset),
        HANGUP_TEST(nor_does_all_that_a_socket_holds),
        HANGUP_TEST(nor_what_came_before_a_half_close),
        HANGUP_TEST(the_client_sees_the_end_though_somebody_holds_a_copy),
        HANGUP_TEST(a_client_that_is_gone_is_no_error),
        HANGUP_TEST(nor_does_a_client_that_sends_meanwhile),
        HANGUP_TEST(what_is_no_connection_is_said_and_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
