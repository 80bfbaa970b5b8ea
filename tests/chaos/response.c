#include "response.h"

#include <stdlib.h>
#include <string.h>

#define STATUS_LINE "HTTP/1.1 "
#define HEAD_END    "\r\n\r\n"

/* The value of a field, which this server writes always in the same way; NULL if it is not there. */
static const char *find_field(const char *head, const char *name)
{
    const char *at = strstr(head, name);
    return at != NULL ? at + strlen(name) : NULL;
}

/* The chunks that have come, from `at` on: adds whole ones to the body. Returns the size of the last chunk's frame and
 * all before it; 0: the last one is still to come. `*ret_bad`: these are no chunks. */
static size_t collect_chunks(const struct link *link, size_t at, struct response *response, bool *ret_bad)
{
    response->size = 0;
    for (;;) {
        char *end;
        const char *line_end = strstr(link->bytes + at, "\r\n");
        if (line_end == NULL) {
            return 0;
        }
        unsigned long size = strtoul(link->bytes + at, &end, 16);
        if (end != line_end || size > LINK_ROOM - 1 - response->size) {
            *ret_bad = true;
            return 0;
        }
        size_t data = (size_t)(line_end + 2 - link->bytes);
        if (data + size + 2 > link->size) {
            return 0;
        }
        if (memcmp(link->bytes + data + size, "\r\n", 2) != 0) {
            *ret_bad = true;
            return 0;
        }
        memcpy(response->body + response->size, link->bytes + data, size);
        response->size += size;
        response->body[response->size] = '\0';
        at = data + size + 2;
        if (size == 0) {
            return at;
        }
    }
}

static enum response_step read_chunks(struct link *link, size_t head, struct response *response)
{
    bool bad = false;
    size_t all;
    while ((all = collect_chunks(link, head, response, &bad)) == 0 && !bad) {
        if (!link_read(link)) {
            return RESPONSE_PART;
        }
    }
    if (bad) {
        return RESPONSE_MALFORMED;
    }
    link_take(link, all);
    return RESPONSE_WHOLE;
}

static enum response_step read_length(struct link *link, size_t head, size_t length, struct response *response)
{
    bool goes_on = true;
    while (link->size - head < length && goes_on) {
        goes_on = link_read(link);
    }
    response->size = link->size - head < length ? link->size - head : length;
    memcpy(response->body, link->bytes + head, response->size);
    response->body[response->size] = '\0';
    if (response->size < length) {
        return RESPONSE_PART;
    }
    link_take(link, head + length);
    return RESPONSE_WHOLE;
}

enum response_step response_read(struct link *link, struct response *response)
{
    char *head_end;
    char head[1024];
    response->size = 0;
    response->body[0] = '\0';
    while ((head_end = strstr(link->bytes, HEAD_END)) == NULL) {
        if (!link_read(link)) {
            return link->size == 0 ? RESPONSE_NOTHING : RESPONSE_PART_HEAD;
        }
    }
    size_t size = (size_t)(head_end - link->bytes) + strlen(HEAD_END);
    if (size >= sizeof head || strncmp(link->bytes, STATUS_LINE, strlen(STATUS_LINE)) != 0) {
        return RESPONSE_MALFORMED;
    }
    response->status = (unsigned)strtoul(link->bytes + strlen(STATUS_LINE), NULL, 10);
    memcpy(head, link->bytes, size);
    head[size] = '\0';
    const char *length = find_field(head, "\r\nContent-Length: ");
    response->closes = find_field(head, "\r\nConnection: close\r\n") != NULL;
    response->is_chunked = find_field(head, "\r\nTransfer-Encoding: chunked\r\n") != NULL;
    if (response->is_chunked) {
        return read_chunks(link, size, response);
    }
    if (length == NULL && response->status != 204 && response->status >= 200) {
        return RESPONSE_MALFORMED;
    }
    return read_length(link, size, length != NULL ? strtoul(length, NULL, 10) : 0, response);
}
