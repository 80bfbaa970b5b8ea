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

static bool peek_asks_for_health(const char *bytes, size_t size)
{
    return (peek_begins_with(bytes, size, view_of("GET /healthz")) ||
            peek_begins_with(bytes, size, view_of("HEAD /healthz"))) &&
           peek_has_end(bytes, size);
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
    if (protocol == PROTOCOL_HTTP && peek_asks_for_health((const char *)bytes, (size_t)got)) {
        return PEEK_HEALTH;
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
