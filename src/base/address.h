/* Where to listen for TCP connections, as text: ":9100", "127.0.0.1:9100", "[::1]:9100". Addresses are numbers: nothing
 * is looked up. Pure. */
#ifndef ASYA_BASE_ADDRESS_H
#define ASYA_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

enum address_family { ADDRESS_ANY, ADDRESS_IPV4, ADDRESS_IPV6 };

struct address {
    enum address_family family; /* ADDRESS_ANY: the text names no address, so all of this machine's are meant */
    unsigned char bytes[16];    /* in network order; IPv4 uses the first four */
    uint16_t port;
};

/* False, and nothing is written, if `text` is no such address. */
bool address_parse(const char *text, struct address *ret_address);

#endif
