/*
 * http1_request: heads that are fine, and what is known of them (RFC 9112; docs/protocol.md). Every row runs
 * whole, in two at each byte and byte by byte, each time flush against a page that faults. What is refused:
 * test_wire_http1_malformed.c.
 */
#include "descriptors.h"
#include "guard.h"

#include "wire/http1_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 1000 };

struct head_row {
    const char *name;
    const char *head;
    const char *path;
    enum http1_method method;
    uint8_t minor;
    enum http1_body body;
    uint64_t length;
    bool closes;
    bool expects;
    const char *content_encoding; /* these three: NULL for none */
    const char *request_id;
    const char *traceparent;
};

#define POST   "POST /invoke HTTP/1.1\r\nHost: a\r\n"
#define POST10 "POST /invoke HTTP/1.0\r\n"

static const struct head_row head_rows[] = {
    {"a request for the health", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "/healthz", HTTP1_GET, .minor = 1},
    {"the same as HEAD", "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "/healthz", HTTP1_HEAD, .minor = 1},
    {"another method is just another", "PATCH /invoke HTTP/1.1\r\nHost: a\r\n\r\n", "/invoke", HTTP1_OTHER, .minor = 1},
    {"methods are told apart by case", "Post /invoke HTTP/1.1\r\nHost: a\r\n\r\n", "/invoke", HTTP1_OTHER, .minor = 1},
    {"a longer method is another", "POSTS /invoke HTTP/1.1\r\nHost: a\r\n\r\n", "/invoke", HTTP1_OTHER, .minor = 1},
    {"a request with a length", POST "Content-Length: 54\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_LENGTH, .length = 54},
    {"the name of a field in any case", POST "cOnTeNt-LeNgTh: 54\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_LENGTH, .length = 54},
    {"no space behind the colon", POST "Content-Length:54\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_LENGTH, .length = 54},
    {"white space around the value", POST "Content-Length: \t 54\t \r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_LENGTH, .length = 54},
    {"leading zeros are digits", POST "Content-Length: 0054\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_LENGTH, .length = 54},
    {"a length of the limit", POST "Content-Length: 1000\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_LENGTH, .length = 1000},
    {"a length of 0 is no body", POST "Content-Length: 0\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1},
    {"neither length nor chunks is no body", POST "\r\n", "/invoke", HTTP1_POST, .minor = 1},
    {"a request with chunks", POST "Transfer-Encoding: chunked\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_CHUNKED},
    {"chunked in any case", POST "transfer-encoding: ChUnKeD\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1,
     .body = HTTP1_BODY_CHUNKED},
    {"a body may come with GET", "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", "/healthz", HTTP1_GET,
     .minor = 1, .body = HTTP1_BODY_LENGTH, .length = 3},
    {"a client asks to close", POST "Connection: close\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1, .closes = true},
    {"close in any case, in a list", POST "connection: Keep-Alive ,\tCLOSE, te\r\n\r\n", "/invoke", HTTP1_POST,
     .minor = 1, .closes = true},
    {"close in the second of two fields", POST "Connection: te\r\nConnection: close\r\n\r\n", "/invoke", HTTP1_POST,
     .minor = 1, .closes = true},
    {"close as a part of an option is another option", POST "Connection: closed, not-close\r\n\r\n", "/invoke",
     HTTP1_POST, .minor = 1},
    {"an empty list of options says nothing", POST "Connection: ,, \r\n\r\n", "/invoke", HTTP1_POST, .minor = 1},
    {"HTTP/1.0 needs no Host and closes", POST10 "Content-Length: 5\r\n\r\n", "/invoke", HTTP1_POST, .minor = 0,
     .body = HTTP1_BODY_LENGTH, .length = 5, .closes = true},
    {"HTTP/1.0 may ask to stay", POST10 "Connection: keep-alive\r\n\r\n", "/invoke", HTTP1_POST, .minor = 0},
    {"HTTP/1.0 that asks for both closes", POST10 "Connection: keep-alive, close\r\n\r\n", "/invoke", HTTP1_POST,
     .minor = 0, .closes = true},
    {"a later HTTP/1 is read as HTTP/1.1", "GET / HTTP/1.9\r\nHost: a\r\n\r\n", "/", HTTP1_GET, .minor = 1},
    {"a client waits to be told to go on", POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "/invoke",
     HTTP1_POST, .minor = 1, .body = HTTP1_BODY_LENGTH, .length = 5, .expects = true},
    {"the same with chunks, in other letters", POST "expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
     "/invoke", HTTP1_POST, .minor = 1, .body = HTTP1_BODY_CHUNKED, .expects = true},
    {"without a body there is nothing to wait for", POST "Expect: 100-continue\r\n\r\n", "/invoke", HTTP1_POST,
     .minor = 1},
    {"HTTP/1.0 knows no expectation", POST10 "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "/invoke", HTTP1_POST,
     .minor = 0, .body = HTTP1_BODY_LENGTH, .length = 5, .closes = true},
    {"HTTP/1.0 knows no other expectation either", POST10 "Expect: 200-ok\r\n\r\n", "/invoke", HTTP1_POST, .minor = 0,
     .closes = true},
    {"a query is no part of the path", "GET /healthz?a=/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "/healthz", HTTP1_GET,
     .minor = 1},
    {"an empty query is no part of the path", "GET /healthz? HTTP/1.1\r\nHost: a\r\n\r\n", "/healthz", HTTP1_GET,
     .minor = 1},
    {"a path is not decoded", "GET /%68ealthz/../a HTTP/1.1\r\nHost: a\r\n\r\n", "/%68ealthz/../a", HTTP1_GET,
     .minor = 1},
    {"a whole URL", "GET http://a:80/healthz?b HTTP/1.1\r\nHost: a\r\n\r\n", "/healthz", HTTP1_GET, .minor = 1},
    {"a whole URL in other letters", "GET HTTP://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", "/healthz", HTTP1_GET,
     .minor = 1},
    {"a whole URL without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "", HTTP1_GET, .minor = 1},
    {"a whole URL without a path, with a query", "GET http://a?b/c HTTP/1.1\r\nHost: a\r\n\r\n", "", HTTP1_GET,
     .minor = 1},
    {"the server as such", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", HTTP1_OTHER, .minor = 1},
    {"an empty line before the request", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", HTTP1_GET, .minor = 1},
    {"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", HTTP1_GET, .minor = 1},
    {"a Host with a port", "GET / HTTP/1.1\r\nHost: a-b.c:8080\r\n\r\n", "/", HTTP1_GET, .minor = 1},
    {"a Host that is an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "/", HTTP1_GET, .minor = 1},
    {"a Host that is a socket's path, encoded", "GET / HTTP/1.1\r\nHost: %2Ftmp%2Fapp.sock\r\n\r\n", "/", HTTP1_GET,
     .minor = 1},
    {"every byte a name may have", POST "!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1},
    {"a value of bytes above 0x7F and tabs", POST "X-A: \xC3\xA4\t\xFF\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1},
    {"an empty value", POST "X-A:\r\nX-B: \r\n\r\n", "/invoke", HTTP1_POST, .minor = 1},
    {"what the log wants to know",
     POST "X-Request-ID:  r 1 \r\ntraceparent: 00-1-2-01\r\nContent-Encoding: gzip\r\n\r\n", "/invoke", HTTP1_POST,
     .minor = 1, .request_id = "r 1", .traceparent = "00-1-2-01", .content_encoding = "gzip"},
    {"a body as it is", POST "content-encoding: Identity\r\n\r\n", "/invoke", HTTP1_POST, .minor = 1},
    {"of repeated fields the first", POST "x-request-id: a\r\nX-Request-Id: b\r\n\r\n", "/invoke", HTTP1_POST,
     .minor = 1, .request_id = "a"},
    {"names that only begin like known ones", POST "Content-Lengths: x\r\nHosts: a b\r\nTransfer-Encodin: x\r\n\r\n",
     "/invoke", HTTP1_POST, .minor = 1},
};

static void check_span(const struct head_row *row, const unsigned char *message, const char *what,
                       struct http1_span span, const char *expected)
{
    struct view view = http1_view(message, span);
    const char *text = expected != NULL ? expected : "";
    if (view.size != strlen(text) || memcmp(view.data, text, view.size) != 0) {
        fail_msg("%s: %s is \"%.*s\"", row->name, what, (int)view.size, view.data);
    }
}

static void check_request(const struct head_row *row, const unsigned char *message, const struct http1_request *request)
{
    if (request->method != row->method || request->minor != row->minor || request->body != row->body ||
        request->content_length != row->length || request->keep_alive == row->closes ||
        request->expect_continue != row->expects || request->head_size != strlen(row->head)) {
        fail_msg("%s: method %d, minor %d, body %d of %llu, keep alive %d, expect %d, head of %u", row->name,
                 (int)request->method, request->minor, (int)request->body, (unsigned long long)request->content_length,
                 request->keep_alive, request->expect_continue, request->head_size);
    }
    check_span(row, message, "the path", request->path, row->path);
    check_span(row, message, "the content type", request->content_encoding, row->content_encoding);
    check_span(row, message, "the request id", request->request_id, row->request_id);
    check_span(row, message, "the traceparent", request->traceparent, row->traceparent);
}

/* Sends `first` bytes, then `piece` more each time. */
static void run(const struct head_row *row, size_t first, size_t piece)
{
    size_t size = strlen(row->head);
    struct guard memory = guard_make(size);
    struct http1_request request = http1_request_make(LIMIT);
    struct http1_error err = {0};
    size_t arrived = first;
    for (;;) {
        unsigned char *message = guard_tail(&memory, arrived);
        memcpy(message, row->head, arrived);
        enum wire_step step = http1_request_feed(&request, message, arrived, &err);
        if (step == WIRE_BAD) {
            fail_msg("%s: refused with %u, %s", row->name, err.status, err.text);
        }
        if ((step == WIRE_DONE) != (arrived == size)) {
            fail_msg("%s: %d after %zu of %zu bytes", row->name, (int)step, arrived, size);
        }
        if (step == WIRE_DONE) {
            check_request(row, message, &request);
            break;
        }
        arrived = size - arrived < piece ? size : arrived + piece;
    }
    guard_free(&memory);
}

static void heads_are_read_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof head_rows / sizeof head_rows[0]; i++) {
        size_t size = strlen(head_rows[i].head);
        for (size_t first = 0; first <= size; first++) {
            run(&head_rows[i], first, size);
        }
        run(&head_rows[i], 1, 1);
    }
}

static void what_follows_a_head_is_left_alone(void **state)
{
    (void)state;
    const char *head = POST "Content-Length: 3\r\n\r\n";
    char message[256];
    struct http1_error err;
    int size = snprintf(message, sizeof message, "%s%s", head, "\n\n\nGET / HTTP/9.9\n");
    struct http1_request request = http1_request_make(LIMIT);
    assert_int_equal(http1_request_feed(&request, (const unsigned char *)message, (size_t)size, &err), WIRE_DONE);
    assert_int_equal(request.head_size, strlen(head));
}

/* RFC 9110, section 5.5: a value has visible characters, blanks and bytes above 0x7F, and no other control character.
 */
static void a_control_character_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t before = 0; before < 17; before++) {
            char text[96];
            struct http1_error err = {0};
            int size =
                snprintf(text, sizeof text, POST "X-A:%.*s?%s", (int)before, "aaaaaaaaaaaaaaaaa", "bbbbbbbbb\r\n\r\n");
            *strchr(text, '?') = (char)byte;
            struct guard memory = guard_copy(text, (size_t)size);
            struct http1_request request = http1_request_make(LIMIT);
            enum wire_step step = http1_request_feed(&request, memory.data, (size_t)size, &err);
            bool is_text = byte == '\t' || (byte >= ' ' && byte != 0x7F);
            assert_int_equal(step, is_text ? WIRE_DONE : WIRE_BAD);
            if (!is_text) {
                assert_int_equal(err.status, 400);
                assert_int_equal(err.offset, strlen(POST "X-A:") + before);
            }
            guard_free(&memory);
        }
    }
}

static void a_second_empty_line_is_no_request(void **state)
{
    (void)state;
    struct http1_request request = http1_request_make(LIMIT);
    struct http1_error err;
    const char *message = "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(http1_request_feed(&request, (const unsigned char *)message, strlen(message), &err), WIRE_BAD);
    assert_int_equal(err.status, 400);
}

/* A head of `size` bytes, the last field of which is as long as it takes. */
static enum wire_step feed_head_of(size_t size, struct http1_request *request, struct http1_error *err)
{
    static const char start[] = POST "X-A: ";
    struct guard head = guard_make(size);
    memset(head.data, 'b', size);
    memcpy(head.data, start, sizeof start - 1);
    memcpy(head.data + size - 4, "\r\n\r\n", 4);
    *request = http1_request_make(LIMIT);
    enum wire_step step = http1_request_feed(request, head.data, size, err);
    guard_free(&head);
    return step;
}

static void a_head_may_have_as_many_bytes_as_the_limit(void **state)
{
    (void)state;
    struct http1_request request;
    struct http1_error err;
    assert_int_equal(feed_head_of(HTTP1_HEAD_MAX, &request, &err), WIRE_DONE);
    assert_int_equal(request.head_size, HTTP1_HEAD_MAX);
    assert_int_equal(feed_head_of(HTTP1_HEAD_MAX + 1, &request, &err), WIRE_BAD);
    assert_int_equal(err.status, 400);
    assert_non_null(strstr(err.text, "16384"));
}

static void a_head_may_have_as_many_fields_as_the_limit(void **state)
{
    (void)state;
    char message[4096] = POST;
    for (int i = 1; i < HTTP1_FIELDS_MAX; i++) {
        strcat(message, "X-A: b\r\n");
    }
    strcat(message, "\r\n");
    struct http1_request request = http1_request_make(LIMIT);
    struct http1_error err;
    assert_int_equal(http1_request_feed(&request, (const unsigned char *)message, strlen(message), &err), WIRE_DONE);
}

static void the_method_is_known_of_what_is_refused_later(void **state)
{
    (void)state;
    struct http1_request request = http1_request_make(LIMIT);
    struct http1_error err;
    const char *message = "HEAD /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n";
    assert_int_equal(http1_request_feed(&request, (const unsigned char *)message, strlen(message), &err), WIRE_BAD);
    assert_int_equal(request.method, HTTP1_HEAD);
    assert_int_equal(err.offset, strlen("HEAD /healthz HTTP/1.1\r\nHost: a\r\nHost: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(heads_are_read_however_they_are_cut),
        DESCRIPTOR_TEST(what_follows_a_head_is_left_alone),
        DESCRIPTOR_TEST(a_control_character_is_refused_wherever_it_stands),
        DESCRIPTOR_TEST(a_second_empty_line_is_no_request),
        DESCRIPTOR_TEST(a_head_may_have_as_many_bytes_as_the_limit),
        DESCRIPTOR_TEST(a_head_may_have_as_many_fields_as_the_limit),
        DESCRIPTOR_TEST(the_method_is_known_of_what_is_refused_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
