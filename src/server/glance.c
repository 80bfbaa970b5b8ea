#include "server/glance.h"

#include "base/view.h"
#include "wire/detect.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

enum { GLANCE_SIZE = 4096 }; /* a longer head is for a worker */

static ssize_t peek(int connection, char *bytes, size_t size)
{
    ssize_t got;
    do {
        got = recv(connection, bytes, size, MSG_PEEK | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Does the head end in these bytes? */
static bool has_end(const char *bytes, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i++) {
        if (memcmp(bytes + i, "\r\n\r\n", 4) == 0) {
            return true;
        }
    }
    return false;
}

/* How the bytes compare with a whole request whose head begins like this; the path ends there, or a query follows. */
static enum glance compare(const char *bytes, size_t size, struct view wanted)
{
    size_t common = size < wanted.size ? size : wanted.size;
    if (memcmp(bytes, wanted.data, common) != 0) {
        return GLANCE_REQUEST;
    }
    if (size > wanted.size && bytes[wanted.size] != ' ' && bytes[wanted.size] != '?') {
        return GLANCE_REQUEST;
    }
    if (has_end(bytes, size)) {
        return GLANCE_HEALTH;
    }
    return size < GLANCE_SIZE ? GLANCE_SILENT : GLANCE_REQUEST;
}

enum glance glance_at(int connection, enum protocol protocol)
{
    char bytes[GLANCE_SIZE];
    ssize_t got = peek(connection, bytes, sizeof bytes);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return GLANCE_SILENT;
    }
    if (got <= 0 || detect(protocol, (unsigned char)bytes[0]) != PROTOCOL_HTTP) {
        return GLANCE_REQUEST;
    }
    enum glance get = compare(bytes, (size_t)got, view_of("GET /healthz"));
    return get != GLANCE_REQUEST ? get : compare(bytes, (size_t)got, view_of("HEAD /healthz"));
}

enum protocol glance_protocol(int connection, enum protocol protocol)
{
    char first;
    return protocol == PROTOCOL_AUTO && peek(connection, &first, 1) == 1 ? detect(protocol, (unsigned char)first)
                                                                         : protocol;
}
