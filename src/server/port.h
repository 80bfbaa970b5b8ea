/* A listening TCP socket. */
#ifndef ASYA_SERVER_PORT_H
#define ASYA_SERVER_PORT_H

#include "base/address.h"

/* Listens there. Without an address: on all of the machine's, IPv6 and IPv4. Returns the socket, non-blocking and
 * CLOEXEC, which the caller owns; or -errno. */
int port_open(const struct address *address);

#endif
