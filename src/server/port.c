#include "server/port.h"

#include "base/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { PORT_BACKLOG = 64 };

/* In network order. Not htons(), which is a macro in one libc and a function in another. */
static in_port_t port_number(uint16_t port)
{
    const unsigned char bytes[2] = {(unsigned char)(port >> 8), (unsigned char)(port & 255)};
    in_port_t number;
    memcpy(&number, bytes, sizeof number);
    return number;
}

static int port_bind(int family, const void *address, socklen_t size)
{
    const int on = 1;
    const int off = 0;
    FD_SCOPED int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* SO_REUSEADDR: connections of the last runtime may still wait for their end */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
        bind(fd, address, size) != 0 || listen(fd, PORT_BACKLOG) != 0) {
        return -errno;
    }
    int status = fd_raise(&fd);
    return status < 0 ? status : fd_take(&fd);
}

static int port_open_v4(const struct address *address)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = port_number(address->port)};
    memcpy(&name.sin_addr, address->bytes, sizeof name.sin_addr); /* all zero: any */
    return port_bind(AF_INET, &name, sizeof name);
}

int port_open(const struct address *address)
{
    if (address->family == ADDRESS_IPV4) {
        return port_open_v4(address);
    }
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = port_number(address->port)};
    memcpy(&name.sin6_addr, address->bytes, sizeof name.sin6_addr);
    int status = port_bind(AF_INET6, &name, sizeof name);
    bool has_no_v6 = status == -EAFNOSUPPORT || status == -EADDRNOTAVAIL || status == -ENOPROTOOPT;
    return has_no_v6 && address->family == ADDRESS_ANY ? port_open_v4(address) : status;
}
