#include "server/peek.h"

#include "base/view.h"
#include "wire/detect.h"
#include "wire/framed.h"
#include "wire/http1_chunked.h"
#include "wire/http1_request.h"
#include "wire/raw.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

static ssize_t peek(int connection, char *bytes, size_t size)
{
    ssize_t got;
    do {
        got = recv(connection, bytes, size, MSG_PEEK | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Whether the HTTP head ends in these bytes. */
static bool peek_has_end(const char *bytes, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i++) {
        if (memcmp(bytes + i, "\r\n\r\n", 4) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the bytes begin with `wanted`, followed by the end of the path or a query. */
static bool peek_begins_with(const char *bytes, size_t size, struct view wanted)
{
    return size > wanted.size && memcmp(bytes, wanted.data, wanted.size) == 0 &&
           (bytes[wanted.size] == ' ' || bytes[wanted.size] == '?');
}

/* What a GET or HEAD of one of the runtime's own paths asks for; PEEK_REQUEST: it is none. */
static enum peek peek_probe(const char *bytes, size_t size)
{
    static const struct {
        const char *path;
        enum peek what;
    } probes[] = {
        {"/healthz", PEEK_HEALTH}, {"/readyz", PEEK_HEALTH}, {"/livez", PEEK_ALIVE}, {"/startupz", PEEK_ALIVE}};
    size_t at = size > 5 && memcmp(bytes, "HEAD ", 5) == 0 ? 5 : 4;
    if (size <= at || (at == 4 && memcmp(bytes, "GET ", 4) != 0) || !peek_has_end(bytes, size)) {
        return PEEK_REQUEST;
    }
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        if (peek_begins_with(bytes + at, size - at, view_of(probes[i].path))) {
            return probes[i].what;
        }
    }
    return PEEK_REQUEST;
}

/* Decodes the bytes in place. */
static bool peek_is_http_partial(unsigned char *bytes, size_t size, size_t limit)
{
    struct http1_request request = http1_request_make(limit);
    struct http1_error err;
    enum wire_step step = http1_request_feed(&request, bytes, size, &err);
    if (step != WIRE_DONE || request.expect_continue) {
        return step == WIRE_MORE;
    }
    size_t body = size - request.head_size;
    if (request.body != HTTP1_BODY_CHUNKED) {
        return request.body == HTTP1_BODY_LENGTH && body < request.content_length;
    }
    struct http1_chunked chunked = http1_chunked_make(limit);
    return http1_chunked_feed(&chunked, bytes + request.head_size, &body, &err) == WIRE_MORE;
}

/* Whether the request's rest is still to come, by the rules of its protocol. */
static bool peek_is_partial(unsigned char *bytes, size_t size, enum protocol protocol, size_t limit)
{
    struct error err;
    struct view body;
    switch (protocol) {
    case PROTOCOL_HTTP:
        return peek_is_http_partial(bytes, size, limit);
    case PROTOCOL_FRAMED:
        return framed_feed(limit, bytes, size, &body, &err) == WIRE_MORE;
    default: {
        struct raw raw = raw_make(limit);
        return raw_feed(&raw, bytes, size, &err) == WIRE_MORE && !raw.bad;
    }
    }
}

/* Whether the client has closed or half-closed the connection. */
static bool peek_has_ended(int connection)
{
    struct pollfd look = {.fd = connection, .events = POLLRDHUP};
    return poll(&look, 1, 0) != 0;
}

/* Whether the client has closed the connection. After a half-close it still reads, so that does not count. */
static bool peek_is_hung_up(int connection)
{
    struct pollfd look = {.fd = connection};
    return poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
}

enum peek peek_at(int connection, enum protocol protocol, size_t limit)
{
    unsigned char bytes[PEEK_SIZE];
    ssize_t got = peek(connection, (char *)bytes, sizeof bytes);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return PEEK_SILENT;
    }
    if (got <= 0) {
        return peek_is_hung_up(connection) ? PEEK_GONE : PEEK_REQUEST;
    }
    protocol = detect(protocol, bytes[0]);
    enum peek probe = protocol == PROTOCOL_HTTP ? peek_probe((const char *)bytes, (size_t)got) : PEEK_REQUEST;
    if (probe != PEEK_REQUEST) {
        return probe;
    }
    if (got == sizeof bytes || !peek_is_partial(bytes, (size_t)got, protocol, limit) || peek_has_ended(connection)) {
        return PEEK_REQUEST;
    }
    return PEEK_PARTIAL;
}

size_t peek_size(int connection)
{
    char bytes[PEEK_SIZE];
    ssize_t got = peek(connection, bytes, sizeof bytes);
    return got > 0 ? (size_t)got : 0;
}

enum protocol peek_protocol(int connection, enum protocol protocol)
{
    char first;
    return protocol == PROTOCOL_AUTO && peek(connection, &first, 1) == 1 ? detect(protocol, (unsigned char)first)
                                                                         : protocol;
}
