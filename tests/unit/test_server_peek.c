/* peek: what an unread connection asks for is told without taking a byte from it. */
#include "descriptors.h"

#include "server/peek.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LIMIT = 100 }; /* ASYA_MAX_MESSAGE_SIZE */

struct row {
    const char *name;
    const char *sent;
    enum protocol protocol;
    enum peek peek;
};

#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789x"
#define POST "POST /invoke HTTP/1.1\r\nHost: x\r\n"

static const struct row rows[] = {
    {"nothing", "", PROTOCOL_AUTO, PEEK_SILENT},
    {"a payload", "{\"a\":1}", PROTOCOL_AUTO, PEEK_REQUEST},
    {"half a payload", "{\"a\":", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"white space", " ", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"a number that may go on", "12", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"a number that does not", "12 ", PROTOCOL_AUTO, PEEK_REQUEST},
    {"what can be no JSON", "!", PROTOCOL_AUTO, PEEK_REQUEST},
    {"a payload over the limit", "\"" LONG "\"", PROTOCOL_AUTO, PEEK_REQUEST},
    {"half a payload over the limit", "\"" LONG, PROTOCOL_AUTO, PEEK_REQUEST},
    {"a frame", "\1\1\1\5[1,2]", PROTOCOL_AUTO, PEEK_REQUEST}, /* longer than the limit */
    {"half a head", "POST /invoke HTTP/1.1\r\n", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"a whole message", POST "Content-Length: 3\r\n\r\n[1]", PROTOCOL_AUTO, PEEK_REQUEST},
    {"half a body", POST "Content-Length: 3\r\n\r\n[1", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"no body", POST "\r\n", PROTOCOL_AUTO, PEEK_REQUEST},
    {"a body that waits to be asked for", POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", PROTOCOL_AUTO,
     PEEK_REQUEST},
    {"a body over the limit", POST "Content-Length: 300\r\n\r\n[1", PROTOCOL_AUTO, PEEK_REQUEST},
    {"chunks", POST "Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", PROTOCOL_AUTO, PEEK_REQUEST},
    {"some chunks", POST "Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"no HTTP, but a capital letter", "Hello\r\n\r\n", PROTOCOL_AUTO, PEEK_REQUEST},
    {"health", "GET /healthz HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, PEEK_HEALTH},
    {"health, the head alone", "HEAD /healthz HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, PEEK_HEALTH},
    {"readiness", "GET /readyz HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, PEEK_HEALTH},
    {"liveness", "GET /livez HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, PEEK_ALIVE},
    {"a startup probe", "HEAD /startupz?x HTTP/1.1\r\n\r\n", PROTOCOL_HTTP, PEEK_ALIVE},
    {"another path that begins so", "GET /livezz HTTP/1.1\r\n\r\n", PROTOCOL_HTTP, PEEK_REQUEST},
    {"health with a query", "GET /healthz?x=1 HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, PEEK_HEALTH},
    {"health, its head not complete", "GET /healthz HTTP/1.1\r\nHost: x\r\n", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"health or something longer", "GET /healthz", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"health or something else", "G", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"head of health or of something else", "HEAD /he", PROTOCOL_AUTO, PEEK_PARTIAL},
    {"another path", "GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_AUTO, PEEK_REQUEST},
    {"a longer path", "GET /healthz/x HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_AUTO, PEEK_REQUEST},
    {"a method that is not for reading", "PUT /healthz HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_AUTO, PEEK_REQUEST},
    {"health where only HTTP is spoken", "GET /healthz HTTP/1.1\r\n\r\n", PROTOCOL_HTTP, PEEK_HEALTH},
    {"the same bytes where no HTTP is spoken", "GET /healthz HTTP/1.1\r\n", PROTOCOL_RAW, PEEK_REQUEST},
};

static void what_it_asks_for_is_told_and_left_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int pair[2];
        char got[512] = "";
        size_t size = strlen(rows[i].sent);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(send(pair[0], rows[i].sent, size, 0), size);
        enum peek peek = peek_at(pair[1], rows[i].protocol, LIMIT);
        if (peek != rows[i].peek) {
            fail_msg("%s: %d", rows[i].name, peek);
        }
        if (size > 0) {
            assert_int_equal(recv(pair[1], got, sizeof got, 0), size);
        }
        assert_string_equal(got, rows[i].sent);
        close(pair[0]);
        close(pair[1]);
    }
}

struct end_row {
    const char *name;
    const char *sent;
    bool altogether; /* closed, not only for sending */
    enum peek peek;
};

static const struct end_row end_rows[] = {
    {"nothing, and it waits", "", false, PEEK_REQUEST},
    {"nothing", "", true, PEEK_GONE},
    {"a part", "[1", false, PEEK_REQUEST},
    {"a part, and it is gone", "[1", true, PEEK_REQUEST},
    {"half a head", "GET /h", false, PEEK_REQUEST},
};

static void one_that_has_ended_is_for_a_worker_unless_nobody_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof end_rows / sizeof end_rows[0]; i++) {
        const struct end_row *row = &end_rows[i];
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(send(pair[0], row->sent, strlen(row->sent), 0), strlen(row->sent));
        assert_int_equal(shutdown(pair[0], row->altogether ? SHUT_RDWR : SHUT_WR), 0);
        if (peek_at(pair[1], PROTOCOL_AUTO, LIMIT) != row->peek) {
            fail_msg("%s: %d", row->name, peek_at(pair[1], PROTOCOL_AUTO, LIMIT));
        }
        close(pair[0]);
        close(pair[1]);
        assert_int_equal(peek_at(pair[1], PROTOCOL_AUTO, LIMIT), PEEK_REQUEST); /* what is no connection either */
    }
}

static void of_a_long_request_it_is_not_told_whether_it_is_whole(void **state)
{
    (void)state;
    static char bytes[PEEK_SIZE + 1];
    int pair[2];
    memset(bytes, ' ', sizeof bytes);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(send(pair[0], bytes, PEEK_SIZE - 1, 0), PEEK_SIZE - 1);
    assert_int_equal(peek_at(pair[1], PROTOCOL_AUTO, SIZE_MAX), PEEK_PARTIAL);
    assert_int_equal(peek_size(pair[1]), PEEK_SIZE - 1);
    assert_int_equal(send(pair[0], bytes, 2, 0), 2);
    assert_int_equal(peek_at(pair[1], PROTOCOL_AUTO, SIZE_MAX), PEEK_REQUEST);
    assert_int_equal(peek_size(pair[1]), PEEK_SIZE);
    close(pair[0]);
    assert_int_equal(peek_size(pair[1]), PEEK_SIZE);
    close(pair[1]);
    assert_int_equal(peek_size(pair[1]), 0);
}

static void the_first_byte_tells_the_protocol_unless_it_is_fixed(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(peek_protocol(pair[1], PROTOCOL_AUTO), PROTOCOL_AUTO);
    assert_int_equal(send(pair[0], "POST", 4, 0), 4);
    assert_int_equal(peek_protocol(pair[1], PROTOCOL_AUTO), PROTOCOL_HTTP);
    assert_int_equal(peek_protocol(pair[1], PROTOCOL_RAW), PROTOCOL_RAW);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(what_it_asks_for_is_told_and_left_there),
        DESCRIPTOR_TEST(one_that_has_ended_is_for_a_worker_unless_nobody_is_there),
        DESCRIPTOR_TEST(of_a_long_request_it_is_not_told_whether_it_is_whole),
        DESCRIPTOR_TEST(the_first_byte_tells_the_protocol_unless_it_is_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
