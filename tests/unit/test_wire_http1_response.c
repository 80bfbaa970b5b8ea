/* http1_response: heads and events, byte for byte (docs/protocol.md), within the sizes the header promises. */
#include "descriptors.h"
#include "guard.h"

#include "wire/http1_response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct response_row {
    const char *name;
    struct http1_response response;
    const char *head;
};

#define JSON "Content-Type: application/json\r\n"

static const struct response_row response_rows[] = {
    {"a success that stays open",
     {200, 2, true, 1, NULL, NULL},
     "HTTP/1.1 200 OK\r\n" JSON "Content-Length: 2\r\n\r\n"},
    {"a success that closes",
     {200, 12345, false, 1, NULL, NULL},
     "HTTP/1.1 200 OK\r\n" JSON "Content-Length: 12345\r\nConnection: close\r\n\r\n"},
    {"HTTP/1.0 is told that the connection stays",
     {200, 2, true, 0, NULL, NULL},
     "HTTP/1.1 200 OK\r\n" JSON "Content-Length: 2\r\nConnection: keep-alive\r\n\r\n"},
    {"no content has neither type nor length", {204, 0, true, 1, NULL, NULL}, "HTTP/1.1 204 No Content\r\n\r\n"},
    {"a bad request",
     {400, 2, false, 1, NULL, NULL},
     "HTTP/1.1 400 Bad Request\r\n" JSON "Content-Length: 2\r\nConnection: close\r\n\r\n"},
    {"a request that takes too long",
     {408, 2, false, 1, NULL, NULL},
     "HTTP/1.1 408 Request Timeout\r\n" JSON "Content-Length: 2\r\nConnection: close\r\n\r\n"},
    {"another path", {404, 2, true, 1, NULL, NULL}, "HTTP/1.1 404 Not Found\r\n" JSON "Content-Length: 2\r\n\r\n"},
    {"another method names those there are",
     {405, 2, true, 1, "GET, HEAD", NULL},
     "HTTP/1.1 405 Method Not Allowed\r\n" JSON "Content-Length: 2\r\nAllow: GET, HEAD\r\n\r\n"},
    {"too large",
     {413, 2, false, 1, NULL, NULL},
     "HTTP/1.1 413 Content Too Large\r\n" JSON "Content-Length: 2\r\nConnection: close\r\n\r\n"},
    {"an expectation that cannot be met",
     {417, 2, false, 1, NULL, NULL},
     "HTTP/1.1 417 Expectation Failed\r\n" JSON "Content-Length: 2\r\nConnection: close\r\n\r\n"},
    {"the function failed",
     {500, 2, true, 1, NULL, NULL},
     "HTTP/1.1 500 Internal Server Error\r\n" JSON "Content-Length: 2\r\n\r\n"},
    {"not ready",
     {503, 2, true, 1, NULL, NULL},
     "HTTP/1.1 503 Service Unavailable\r\n" JSON "Content-Length: 2\r\n\r\n"},
    {"another version, the largest length there is",
     {505, UINT64_MAX, false, 0, NULL, NULL},
     "HTTP/1.1 505 HTTP Version Not Supported\r\n" JSON
     "Content-Length: 18446744073709551615\r\nConnection: close\r\n\r\n"},
    {"what is not JSON says what it is",
     {200, 2, true, 1, NULL, "text/plain; version=0.0.4"},
     "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 2\r\n\r\n"},
    {"a status that is not known is a failure of ours",
     {299, 0, true, 1, NULL, NULL},
     "HTTP/1.1 500 Internal Server Error\r\n" JSON "Content-Length: 0\r\n\r\n"},
};

static void check(const char *name, const char *bytes, size_t size, const char *expected)
{
    if (size != strlen(expected) || memcmp(bytes, expected, size) != 0) {
        fail_msg("%s: \"%.*s\"", name, (int)size, bytes);
    }
}

static void heads_are_what_the_contract_says(void **state)
{
    (void)state;
    struct guard target = guard_make(HTTP1_RESPONSE_SIZE);
    for (size_t i = 0; i < sizeof response_rows / sizeof response_rows[0]; i++) {
        const struct response_row *row = &response_rows[i];
        size_t size = http1_response_head(&row->response, (char *)target.data);
        check(row->name, (const char *)target.data, size, row->head);
    }
    guard_free(&target);
}

static void a_longer_allow_stays_within_its_bounds(void **state)
{
    (void)state;
    char allow[1000];
    memset(allow, 'A', sizeof allow);
    allow[sizeof allow - 1] = '\0';
    struct guard target = guard_make(HTTP1_RESPONSE_SIZE);
    struct http1_response response = {.status = 405, .allow = allow};
    assert_int_equal(http1_response_head(&response, (char *)target.data), HTTP1_RESPONSE_SIZE);
    guard_free(&target);
}

struct event_row {
    const char *event;
    const char *data;
    bool chunked;
    const char *bytes;
};

static const struct event_row event_rows[] = {
    {"done", "{}", true, "16\r\nevent: done\ndata: {}\n\n\r\n"},
    {"downstream", "{\"payload\":1}", true, "27\r\nevent: downstream\ndata: {\"payload\":1}\n\n\r\n"},
    {"upstream", "{\"payload\":1}", false, "event: upstream\ndata: {\"payload\":1}\n\n"},
    {"error", "", true, "15\r\nevent: error\ndata: \n\n\r\n"},
};

static void events_are_what_the_contract_says(void **state)
{
    (void)state;
    struct guard target = guard_make(HTTP1_EVENT_BEGIN_SIZE);
    for (size_t i = 0; i < sizeof event_rows / sizeof event_rows[0]; i++) {
        const struct event_row *row = &event_rows[i];
        char bytes[256];
        size_t size = http1_event_begin(row->event, strlen(row->data), row->chunked, (char *)target.data);
        memcpy(bytes, target.data, size);
        memcpy(bytes + size, row->data, strlen(row->data));
        size += strlen(row->data);
        struct view end = http1_event_end(row->chunked);
        memcpy(bytes + size, end.data, end.size);
        check(row->event, bytes, size + end.size, row->bytes);
    }
    guard_free(&target);
}

static void the_largest_event_stays_within_its_bounds(void **state)
{
    (void)state;
    struct guard target = guard_make(HTTP1_EVENT_BEGIN_SIZE);
    size_t size =
        http1_event_begin("a-name-of-much-more-than-thirty-two-bytes", SIZE_MAX - 100, true, (char *)target.data);
    assert_int_equal(size, HTTP1_EVENT_BEGIN_SIZE);
    assert_memory_equal(target.data, "ffffffffffffffcb\r\nevent: a-name-of-much-more-than-thirty-\ndata: ", size);
    guard_free(&target);
}

static void check_view(struct view view, const char *expected) { check(expected, view.data, view.size, expected); }

static void a_stream_begins_and_ends(void **state)
{
    (void)state;
    check_view(http1_stream_head(true),
               "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
               "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    check_view(http1_stream_head(false), "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                         "Cache-Control: no-cache\r\nConnection: close\r\n\r\n");
    check_view(http1_stream_end(true), "0\r\n\r\n");
    check_view(http1_stream_end(false), "");
    check_view(http1_continue(), "HTTP/1.1 100 Continue\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(heads_are_what_the_contract_says),  DESCRIPTOR_TEST(a_longer_allow_stays_within_its_bounds),
        DESCRIPTOR_TEST(events_are_what_the_contract_says), DESCRIPTOR_TEST(the_largest_event_stays_within_its_bounds),
        DESCRIPTOR_TEST(a_stream_begins_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
