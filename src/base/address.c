#include "base/address.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

enum { HOST_SIZE = 46 }; /* of the longest IPv6 address with its NUL (INET6_ADDRSTRLEN) */

/* The part before the port, without the brackets of an IPv6 address. */
static bool address_parse_host(const char *text, size_t size, struct address *address)
{
    char host[HOST_SIZE];
    if (size == 0) {
        address->family = ADDRESS_ANY;
        return true;
    }
    bool is_v6 = text[0] == '[' && text[size - 1] == ']' && size > 2;
    text += is_v6;
    size -= is_v6 ? 2 : 0;
    if (size >= sizeof host) {
        return false;
    }
    memcpy(host, text, size);
    host[size] = '\0';
    address->family = is_v6 ? ADDRESS_IPV6 : ADDRESS_IPV4;
    return inet_pton(is_v6 ? AF_INET6 : AF_INET, host, address->bytes) == 1;
}

bool address_parse(const char *text, struct address *ret_address)
{
    struct address address = {0};
    uint64_t port;
    const char *colon = strrchr(text, ':');
    const char *end = colon != NULL ? text_number(colon + 1, &port) : NULL;
    if (end == NULL || *end != '\0' || port < 1 || port > UINT16_MAX ||
        !address_parse_host(text, (size_t)(colon - text), &address)) {
        return false;
    }
    address.port = (uint16_t)port;
    *ret_address = address;
    return true;
}
