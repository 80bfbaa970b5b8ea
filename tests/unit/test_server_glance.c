/* glance: what an unread connection asks for is told without taking a byte from it. */
#include "descriptors.h"

#include "server/glance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct row {
    const char *name;
    const char *sent;
    enum protocol protocol;
    enum glance glance;
};

static const struct row rows[] = {
    {"nothing", "", PROTOCOL_AUTO, GLANCE_SILENT},
    {"a payload", "{\"a\":1}", PROTOCOL_AUTO, GLANCE_REQUEST},
    {"a message", "POST /invoke HTTP/1.1\r\n", PROTOCOL_AUTO, GLANCE_REQUEST},
    {"health", "GET /healthz HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, GLANCE_HEALTH},
    {"health, the head alone", "HEAD /healthz HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, GLANCE_HEALTH},
    {"health with a query", "GET /healthz?x=1 HTTP/1.1\r\n\r\n", PROTOCOL_AUTO, GLANCE_HEALTH},
    {"health, its head not complete", "GET /healthz HTTP/1.1\r\nHost: x\r\n", PROTOCOL_AUTO, GLANCE_SILENT},
    {"health or something longer", "GET /healthz", PROTOCOL_AUTO, GLANCE_SILENT},
    {"health or something else", "G", PROTOCOL_AUTO, GLANCE_SILENT},
    {"head of health or of something else", "HEAD /he", PROTOCOL_AUTO, GLANCE_SILENT},
    {"another path", "GET /healthy HTTP/1.1\r\n", PROTOCOL_AUTO, GLANCE_REQUEST},
    {"a longer path", "GET /healthz/x HTTP/1.1\r\n", PROTOCOL_AUTO, GLANCE_REQUEST},
    {"a method that is not for reading", "PUT /healthz HTTP/1.1\r\n", PROTOCOL_AUTO, GLANCE_REQUEST},
    {"health where only HTTP is spoken", "GET /healthz HTTP/1.1\r\n\r\n", PROTOCOL_HTTP, GLANCE_HEALTH},
    {"the same bytes where no HTTP is spoken", "GET /healthz HTTP/1.1\r\n", PROTOCOL_RAW, GLANCE_REQUEST},
};

static void what_it_asks_for_is_told_and_left_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int pair[2];
        char got[128] = "";
        size_t size = strlen(rows[i].sent);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(send(pair[0], rows[i].sent, size, 0), size);
        enum glance glance = glance_at(pair[1], rows[i].protocol);
        if (glance != rows[i].glance) {
            fail_msg("%s: %d", rows[i].name, glance);
        }
        if (size > 0) {
            assert_int_equal(recv(pair[1], got, sizeof got, 0), size);
        }
        assert_string_equal(got, rows[i].sent);
        close(pair[0]);
        close(pair[1]);
    }
}

static void one_that_has_ended_is_for_a_worker(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    close(pair[0]);
    assert_int_equal(glance_at(pair[1], PROTOCOL_AUTO), GLANCE_REQUEST);
    close(pair[1]);
    assert_int_equal(glance_at(pair[1], PROTOCOL_AUTO), GLANCE_REQUEST); /* what is no connection either */
}

static void the_first_byte_tells_the_protocol_unless_it_is_fixed(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(glance_protocol(pair[1], PROTOCOL_AUTO), PROTOCOL_AUTO);
    assert_int_equal(send(pair[0], "POST", 4, 0), 4);
    assert_int_equal(glance_protocol(pair[1], PROTOCOL_AUTO), PROTOCOL_HTTP);
    assert_int_equal(glance_protocol(pair[1], PROTOCOL_RAW), PROTOCOL_RAW);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(what_it_asks_for_is_told_and_left_there),
        DESCRIPTOR_TEST(one_that_has_ended_is_for_a_worker),
        DESCRIPTOR_TEST(the_first_byte_tells_the_protocol_unless_it_is_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
