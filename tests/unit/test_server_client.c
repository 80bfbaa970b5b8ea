/* client: one exchange from the client's side, against a peer that behaves as each row says. */
#include "descriptors.h"
#include "folder.h"

#include "base/clock.h"
#include "base/options.h"
#include "server/client.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWER_MAX = 64 };

#define SOON (100 * CLOCK_MS)
#define LATE (15 * CLOCK_SECOND)

static char path[PATH_SIZE];

static int begin(void **state)
{
    int status = folder_begin(state);
    path_in(path, "s");
    return status;
}

#define CLIENT_TEST(function) cmocka_unit_test_setup_teardown(function, begin, folder_end)

static int listen_at_path(int backlog)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

/* A peer for one connection: reads until the end or `enough` bytes, writes `answer`, closes. */
struct peer {
    int listener;
    size_t enough;
    const char *answer;
    char heard[256];
    size_t heard_size;
    bool heard_end;
};

static void *serve_one(void *context)
{
    struct peer *peer = context;
    int fd = accept(peer->listener, NULL, NULL);
    while (peer->heard_size < peer->enough) {
        ssize_t got = recv(fd, peer->heard + peer->heard_size, sizeof peer->heard - peer->heard_size, 0);
        if (got <= 0) {
            peer->heard_end = got == 0;
            break;
        }
        peer->heard_size += (size_t)got;
    }
    size_t size = strlen(peer->answer);
    for (size_t i = 0; i < size; i++) { /* byte by byte: the answer arrives in pieces */
        if (send(fd, peer->answer + i, 1, MSG_NOSIGNAL) != 1) {
            break;
        }
    }
    close(fd);
    return NULL;
}

struct outcome {
    enum client_outcome outcome;
    char answer[ANSWER_MAX + 1];
    struct error err;
};

static struct outcome exchange_with(struct peer *peer, const char *request, bool half_close)
{
    struct outcome result = {0};
    struct buffer answer = buffer_make(ANSWER_MAX);
    pthread_t thread;
    peer->listener = listen_at_path(1);
    assert_int_equal(pthread_create(&thread, NULL, serve_one, peer), 0);
    result.outcome =
        client_exchange(path, view_of(request), half_close, clock_after(clock_now(), LATE), &answer, &result.err);
    pthread_join(thread, NULL);
    close(peer->listener);
    if (answer.size > 0) {
        memcpy(result.answer, answer.data, answer.size);
    }
    buffer_done(&answer);
    return result;
}

static void the_request_arrives_whole_and_the_answer_comes_back(void **state)
{
    (void)state;
    struct peer peer = {.enough = 5, .answer = "an answer"};
    struct outcome result = exchange_with(&peer, "hello", false);
    assert_int_equal(result.outcome, CLIENT_ANSWERED);
    assert_string_equal(result.answer, "an answer");
    assert_int_equal(peer.heard_size, 5);
    assert_memory_equal(peer.heard, "hello", 5);
}

static void a_half_close_ends_the_request(void **state)
{
    (void)state;
    struct peer peer = {.enough = sizeof peer.heard, .answer = "empty"};
    struct outcome result = exchange_with(&peer, "", true);
    assert_int_equal(result.outcome, CLIENT_ANSWERED);
    assert_string_equal(result.answer, "empty");
    assert_int_equal(peer.heard_size, 0);
    assert_true(peer.heard_end);
}

static void an_answer_longer_than_the_buffer_is_cut_at_its_limit(void **state)
{
    (void)state;
    char text[2 * ANSWER_MAX + 1];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct peer peer = {.enough = 1, .answer = text};
    struct outcome result = exchange_with(&peer, "h", false);
    assert_int_equal(result.outcome, CLIENT_ANSWERED);
    assert_int_equal(strlen(result.answer), ANSWER_MAX);
}

static void closing_without_a_byte_is_told_apart_from_silence(void **state)
{
    (void)state;
    struct peer peer = {.enough = 1, .answer = ""};
    assert_int_equal(exchange_with(&peer, "h", false).outcome, CLIENT_CLOSED);
}

static enum client_outcome ask(struct error *err)
{
    struct buffer answer = buffer_make(ANSWER_MAX);
    enum client_outcome outcome =
        client_exchange(path, view_of("h"), true, clock_after(clock_now(), SOON), &answer, err);
    assert_int_equal(answer.size, 0);
    buffer_done(&answer);
    return outcome;
}

static void a_listener_that_accepts_nothing_is_silent_and_the_deadline_holds(void **state)
{
    (void)state;
    struct error err;
    int listener = listen_at_path(8);
    uint64_t started = clock_now();
    assert_int_equal(ask(&err), CLIENT_SILENT);
    uint64_t taken = clock_now() - started;
    assert_true(taken >= SOON);
    assert_true(taken < LATE);
    close(listener);
}

static void a_full_backlog_is_silence_too(void **state)
{
    (void)state;
    struct error err;
    int listener = listen_at_path(0);
    int waiting[8];
    for (int i = 0; i < 8; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, path, strlen(path) + 1);
        waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (const struct sockaddr *)&address, sizeof address);
    }
    assert_int_equal(ask(&err), CLIENT_SILENT);
    for (int i = 0; i < 8; i++) {
        close(waiting[i]);
    }
    close(listener);
}

static void a_path_where_nobody_listens_is_named_in_the_error(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(ask(&err), CLIENT_FAILED);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "No such file"));
    close(listen_at_path(1));
    assert_int_equal(ask(&err), CLIENT_FAILED);
    assert_non_null(strstr(err.text, "Connection refused"));
}

static void a_path_that_fits_no_address_is_refused(void **state)
{
    (void)state;
    char name[SOCKET_PATH_MAX + 2];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct buffer answer = buffer_make(ANSWER_MAX);
    struct error err;
    assert_int_equal(client_exchange(name, view_of("h"), true, clock_after(clock_now(), SOON), &answer, &err),
                     CLIENT_FAILED);
    assert_non_null(strstr(err.text, "File name too long"));
}

static void a_request_larger_than_the_socket_takes_waits_no_longer_than_the_deadline(void **state)
{
    (void)state;
    enum { HUGE_SIZE = 8 << 20 };
    char *huge = test_malloc(HUGE_SIZE);
    memset(huge, 'x', HUGE_SIZE);
    int listener = listen_at_path(8);
    struct buffer answer = buffer_make(ANSWER_MAX);
    struct error err;
    assert_int_equal(
        client_exchange(path, (struct view){huge, HUGE_SIZE}, true, clock_after(clock_now(), SOON), &answer, &err),
        CLIENT_SILENT);
    close(listener);
    test_free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(the_request_arrives_whole_and_the_answer_comes_back),
        CLIENT_TEST(a_half_close_ends_the_request),
        CLIENT_TEST(an_answer_longer_than_the_buffer_is_cut_at_its_limit),
        CLIENT_TEST(closing_without_a_byte_is_told_apart_from_silence),
        CLIENT_TEST(a_listener_that_accepts_nothing_is_silent_and_the_deadline_holds),
        CLIENT_TEST(a_full_backlog_is_silence_too),
        CLIENT_TEST(a_path_where_nobody_listens_is_named_in_the_error),
        CLIENT_TEST(a_path_that_fits_no_address_is_refused),
        CLIENT_TEST(a_request_larger_than_the_socket_takes_waits_no_longer_than_the_deadline),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
