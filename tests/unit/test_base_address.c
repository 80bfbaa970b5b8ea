/* address: what ASYA_HTTP_ADDR may be, and what it may not. */
#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    const char *text;
    enum address_family family;
    unsigned char first;
    unsigned char last; /* of the bytes that the family has */
    uint16_t port;
} good[] = {
    {":9100", ADDRESS_ANY, 0, 0, 9100},       {":1", ADDRESS_ANY, 0, 0, 1},
    {":65535", ADDRESS_ANY, 0, 0, 65535},     {"127.0.0.1:9100", ADDRESS_IPV4, 127, 1, 9100},
    {"0.0.0.0:80", ADDRESS_IPV4, 0, 0, 80},   {"[::]:9100", ADDRESS_IPV6, 0, 0, 9100},
    {"[::1]:9100", ADDRESS_IPV6, 0, 1, 9100}, {"[fe80::ff]:9100", ADDRESS_IPV6, 0xfe, 0xff, 9100},
};

static const char *const bad[] = {
    "",
    "9100",
    ":",
    ":0",
    ":65536",
    ":99999999999999999999",
    ":9100 ",
    ": 9100",
    ":-1",
    ":http",
    "localhost:9100",
    "127.0.0.1",
    "::1:9100",
    "[::1]",
    "[]:9100",
    "[127.0.0.1]:9100",
    "1.2.3:9100",
    "256.1.1.1:9100",
    "[::1]9100",
    "http://x:1",
    "[1111:2222:3333:4444:5555:6666:7777:8888:9999]:1",
    "[00000000000000000000000000000000000000000000000000000000000000]:1",
};

static void each_address_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct address address;
        if (!address_parse(good[i].text, &address)) {
            fail_msg("%s is refused", good[i].text);
        }
        assert_int_equal(address.family, good[i].family);
        assert_int_equal(address.bytes[0], good[i].first);
        assert_int_equal(address.bytes[address.family == ADDRESS_IPV4 ? 3 : 15], good[i].last);
        assert_int_equal(address.port, good[i].port);
    }
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct address address;
        if (address_parse(bad[i], &address)) {
            fail_msg("'%s' is taken", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_address_is_read),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
