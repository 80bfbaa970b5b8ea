/* peer: who is let in, by the user id the kernel noted at connect. Other users' connections need root to be made. */
#include "capture.h"
#include "descriptors.h"
#include "folder.h"

#include "server/listener.h"
#include "server/peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { STRANGER = 12345, OTHER = 23456 };

static char path[PATH_SIZE];
static struct listener listener;

static int begin(void **state)
{
    struct error err;
    int status = folder_begin(state);
    assert_int_equal(chmod(own_folder, 0755), 0);
    path_in(path, "s");
    assert_int_equal(listener_open(&listener, &LISTENER_WISH(path, 0666), &err), 0);
    assert_int_equal(listener_publish(&listener), 0);
    return status;
}

static int end(void **state)
{
    capture_give_up();
    listener_close(&listener);
    return folder_end(state);
}

#define PEER_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

/* A connection made by `uid`. */
static int client_as(uid_t uid)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    uid_t own = geteuid();
    assert_true(uid == own || seteuid(uid) == 0);
    int status = connect(fd, (const struct sockaddr *)&address, sizeof address);
    assert_true(uid == own || seteuid(own) == 0);
    assert_int_equal(status, 0);
    return fd;
}

/* Whether a connection made by `uid` comes out of the listener, and if not, that it was closed. */
static bool is_let_in(uid_t uid, const struct option_uids *allowed)
{
    int client = client_as(uid);
    listener.allowed_uids = allowed;
    int accepted = listener_accept(&listener);
    char byte;
    if (accepted < 0) {
        assert_int_equal(accepted, -EAGAIN);
        assert_int_equal(recv(client, &byte, 1, 0), 0);
    } else {
        assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
        close(accepted);
    }
    close(client);
    return accepted >= 0;
}

static void without_a_list_everybody_is_let_in(void **state)
{
    (void)state;
    struct option_uids none = {0};
    assert_true(is_let_in(geteuid(), NULL));
    assert_true(is_let_in(geteuid(), &none));
    if (geteuid() == 0) {
        assert_true(is_let_in(STRANGER, NULL));
        assert_true(is_let_in(STRANGER, &none));
    }
}

static void ones_own_user_needs_no_entry(void **state)
{
    (void)state;
    struct option_uids allowed = {.count = 1, .uids = {STRANGER}};
    assert_true(is_let_in(geteuid(), &allowed));
}

static void only_users_on_the_list_are_let_in(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    struct option_uids allowed = {.count = 2, .uids = {7, STRANGER}};
    capture_begin();
    assert_true(is_let_in(STRANGER, &allowed));
    assert_false(is_let_in(OTHER, &allowed));
    allowed.count = 1; /* what lies behind the count is no entry */
    assert_false(is_let_in(STRANGER, &allowed));
    (void)capture_end();
}

static void a_refused_user_does_not_fill_the_log(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    struct option_uids allowed = {.count = 1, .uids = {7}};
    capture_begin();
    for (int i = 0; i < 50; i++) {
        assert_false(is_let_in(STRANGER + 1, &allowed));
    }
    assert_false(is_let_in(OTHER + 1, &allowed));
    const char *log = capture_end();
    assert_int_equal(capture_count(log, "\n"), 2);
    assert_int_equal(capture_count(log, "user id 12346 "), 1);
    assert_int_equal(capture_count(log, "user id 23457 "), 1);
    assert_int_equal(capture_count(log, "ASYA_ALLOWED_UIDS"), 2);
}

static void those_who_are_refused_do_not_hide_who_waits_behind_them(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    enum { REFUSED = 20 };
    struct option_uids allowed = {.count = 1, .uids = {7}};
    int clients[REFUSED + 1];
    for (int i = 0; i < REFUSED; i++) {
        clients[i] = client_as(STRANGER);
    }
    clients[REFUSED] = client_as(geteuid());
    listener.allowed_uids = &allowed;
    capture_begin();
    int accepted = listener_accept(&listener);
    (void)capture_end();
    assert_true(accepted >= 0);
    assert_int_equal(listener_accept(&listener), -EAGAIN);
    close(accepted);
    for (int i = 0; i <= REFUSED; i++) {
        close(clients[i]);
    }
}

static void what_is_no_connection_is_not_allowed(void **state)
{
    (void)state;
    struct option_uids allowed = {.count = 1, .uids = {0}};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_false(peer_is_allowed(ends[0], &allowed));
    assert_true(peer_is_allowed(ends[0], NULL));
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PEER_TEST(without_a_list_everybody_is_let_in),
        PEER_TEST(ones_own_user_needs_no_entry),
        PEER_TEST(only_users_on_the_list_are_let_in),
        PEER_TEST(a_refused_user_does_not_fill_the_log),
        PEER_TEST(those_who_are_refused_do_not_hide_who_waits_behind_them),
        PEER_TEST(what_is_no_connection_is_not_allowed),
    };
    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
