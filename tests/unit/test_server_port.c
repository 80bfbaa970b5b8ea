/* port: a listening TCP socket, of IPv4, IPv6 and both. */
#include "descriptors.h"

#include "base/fd.h"
#include "server/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_reachable_v4(uint16_t port)
{
    FD_SCOPED int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, (const struct sockaddr *)&name, sizeof name) == 0;
}

static bool is_reachable_v6(uint16_t port)
{
    FD_SCOPED int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback};
    return fd >= 0 && connect(fd, (const struct sockaddr *)&name, sizeof name) == 0;
}

/* Opens it at a port that is free: the next one where somebody else has it. */
static int open_somewhere(struct address *address)
{
    int fd = -EADDRINUSE;
    for (unsigned i = 0; i < 100 && fd == -EADDRINUSE; i++) {
        address->port = (uint16_t)(20000 + ((unsigned)getpid() * 7 + i * 131) % 10000);
        fd = port_open(address);
    }
    return fd;
}

static void without_an_address_all_are_meant(void **state)
{
    (void)state;
    struct address address = {.family = ADDRESS_ANY};
    FD_SCOPED int fd = open_somewhere(&address);
    assert_true(fd > 2);
    assert_true(is_reachable_v4(address.port));
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    assert_true(name.ss_family == AF_INET || is_reachable_v6(address.port));
    assert_int_equal(port_open(&address), -EADDRINUSE);
}

static void one_address_is_that_one(void **state)
{
    (void)state;
    struct address address = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
    FD_SCOPED int fd = open_somewhere(&address);
    assert_true(fd > 2);
    assert_true(is_reachable_v4(address.port));
    assert_false(is_reachable_v6(address.port));
}

static void another_machine_s_address_is_refused(void **state)
{
    (void)state;
    const struct address elsewhere = {.family = ADDRESS_IPV4, .bytes = {192, 0, 2, 1}, .port = 9100};
    assert_int_equal(port_open(&elsewhere), -EADDRNOTAVAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(without_an_address_all_are_meant),
        DESCRIPTOR_TEST(one_address_is_that_one),
        DESCRIPTOR_TEST(another_machine_s_address_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
