/* http1_chunked: a body is decoded or refused alike however it was cut, within the limit; and what a second decoder,
 * not resumable and as naive as can be, makes of a body that was taken is the same. */
#include "wire/http1_chunked.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

struct verdict {
    enum wire_step step;
    unsigned status;
    size_t size; /* of the content */
    size_t rest; /* WIRE_DONE: bytes behind the body */
    unsigned char *content;
};

/* Feeds `chunk` bytes more each time, in memory of exactly what is there. */
static struct verdict feed(const unsigned char *data, size_t size, size_t chunk, size_t limit)
{
    struct http1_chunked chunked = http1_chunked_make(limit);
    struct http1_error err = {0};
    struct verdict verdict = {.step = WIRE_MORE};
    size_t held = 0;
    size_t taken = 0;
    while (verdict.step == WIRE_MORE && taken < size) {
        size_t more = size - taken < chunk ? size - taken : chunk;
        verdict.content = realloc(verdict.content, held + more);
        memcpy(verdict.content + held, data + taken, more);
        held += more;
        taken += more;
        verdict.step = http1_chunked_feed(&chunked, verdict.content, &held, &err);
        require(chunked.size <= limit && (verdict.step != WIRE_MORE || held == chunked.size));
    }
    require(verdict.step != WIRE_BAD || err.status == 400 || err.status == 413);
    verdict.status = err.status;
    verdict.size = chunked.size;
    verdict.rest = verdict.step == WIRE_DONE ? held - chunked.size + size - taken : 0;
    return verdict;
}

/* The content of a well-formed body; returns the bytes of the body. */
static size_t decode_again(const char *body, unsigned char *content, size_t *ret_size)
{
    const char *at = body;
    *ret_size = 0;
    for (;;) {
        size_t chunk = strtoull(at, NULL, 16);
        at = strstr(at, "\r\n") + 2;
        if (chunk == 0) {
            break;
        }
        memcpy(content + *ret_size, at, chunk);
        *ret_size += chunk;
        at += chunk;
        require(memcmp(at, "\r\n", 2) == 0);
        at += 2;
    }
    while (memcmp(at, "\r\n", 2) != 0) { /* trailer fields */
        at = strstr(at, "\r\n") + 2;
    }
    return (size_t)(at + 2 - body);
}

static void check_content(const unsigned char *data, size_t size, const struct verdict *verdict)
{
    char *body = malloc(size + 1);
    unsigned char *content = malloc(size);
    size_t content_size;
    memcpy(body, data, size);
    body[size] = '\0';
    require(decode_again(body, content, &content_size) == size - verdict->rest);
    require(content_size == verdict->size && memcmp(content, verdict->content, content_size) == 0);
    require(memcmp(verdict->content + content_size, data + size - verdict->rest, verdict->rest) == 0);
    free(content);
    free(body);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t chunk = (size_t)2 + data[0];
    size_t limit = data[1] < 128 ? (size_t)1 << 20 : (size_t)data[1] - 128;
    data += 2;
    size -= 2;
    struct verdict whole = feed(data, size, size > 0 ? size : 1, limit);
    struct verdict bytewise = feed(data, size, 1, limit);
    struct verdict chunked = feed(data, size, chunk, limit);
    require(whole.step == bytewise.step && whole.step == chunked.step);
    require(whole.status == bytewise.status && whole.status == chunked.status);
    require(whole.rest == bytewise.rest && whole.rest == chunked.rest);
    require(whole.size == bytewise.size && whole.size == chunked.size);
    require(whole.size == 0 || (memcmp(whole.content, bytewise.content, whole.size) == 0 &&
                                memcmp(whole.content, chunked.content, whole.size) == 0));
    if (whole.step == WIRE_DONE) {
        check_content(data, size, &whole);
    }
    free(whole.content);
    free(bytewise.content);
    free(chunked.content);
    return 0;
}
