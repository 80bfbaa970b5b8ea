#include "wire/http1_response.h"

#include "json/itoa.h"

#define STREAM_HEAD                                                                                                    \
    "HTTP/1.1 200 OK\r\n"                                                                                              \
    "Content-Type: text/event-stream\r\n"                                                                              \
    "Cache-Control: no-cache\r\n"                                                                                      \
    "Connection: close\r\n"

static const struct {
    unsigned status;
    const char *line;
} status_lines[] = {
    {500, "HTTP/1.1 500 Internal Server Error\r\n"}, /* the first is used for a status that is not in the table */
    {200, "HTTP/1.1 200 OK\r\n"},
    {204, "HTTP/1.1 204 No Content\r\n"},
    {400, "HTTP/1.1 400 Bad Request\r\n"},
    {404, "HTTP/1.1 404 Not Found\r\n"},
    {405, "HTTP/1.1 405 Method Not Allowed\r\n"},
    {408, "HTTP/1.1 408 Request Timeout\r\n"},
    {413, "HTTP/1.1 413 Content Too Large\r\n"},
    {415, "HTTP/1.1 415 Unsupported Media Type\r\n"},
    {417, "HTTP/1.1 417 Expectation Failed\r\n"},
    {503, "HTTP/1.1 503 Service Unavailable\r\n"},
    {505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
};

/* Text in an array of `room` bytes; what does not fit is cut. */
struct text {
    char *bytes;
    size_t size;
    size_t room;
};

static void response_append_bytes(struct text *text, const char *bytes, size_t size)
{
    if (size > text->room - text->size) {
        size = text->room - text->size;
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

static void response_append(struct text *text, const char *bytes) { response_append_bytes(text, bytes, strlen(bytes)); }

static const char *status_line(unsigned status)
{
    for (size_t i = 0; i < sizeof status_lines / sizeof status_lines[0]; i++) {
        if (status_lines[i].status == status) {
            return status_lines[i].line;
        }
    }
    return status_lines[0].line;
}

size_t http1_response_head(const struct http1_response *response, char target[HTTP1_RESPONSE_SIZE])
{
    struct text text = {target, 0, HTTP1_RESPONSE_SIZE};
    response_append(&text, status_line(response->status));
    if (response->status != 204) { /* 204 has neither (RFC 9110, section 8.6) */
        unsigned char digits[ITOA_SIZE];
        response_append(&text, "Content-Type: ");
        response_append(&text, response->type != NULL ? response->type : "application/json");
        response_append(&text, "\r\nContent-Length: ");
        const unsigned char *end = itoa_u64(digits, response->content_length);
        response_append_bytes(&text, (const char *)digits, (size_t)(end - digits));
        response_append(&text, "\r\n");
    }
    if (response->allow != NULL) {
        response_append(&text, "Allow: ");
        response_append(&text, response->allow);
        response_append(&text, "\r\n");
    }
    if (!response->keep_alive) {
        response_append(&text, "Connection: close\r\n");
    } else if (response->minor == 0) {
        response_append(&text, "Connection: keep-alive\r\n");
    }
    response_append(&text, "\r\n");
    return text.size;
}

struct view http1_continue(void) { return view_of("HTTP/1.1 100 Continue\r\n\r\n"); }

struct view http1_stream_head(bool chunked)
{
    return view_of(chunked ? STREAM_HEAD "Transfer-Encoding: chunked\r\n\r\n" : STREAM_HEAD "\r\n");
}

/* The size line of a chunk. */
static void response_append_chunk_size(struct text *text, size_t size)
{
    char digits[2 * sizeof size];
    size_t first = sizeof digits;
    do {
        digits[--first] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size > 0);
    response_append_bytes(text, digits + first, sizeof digits - first);
    response_append(text, "\r\n");
}

#define EVENT_NAME "event: "
#define EVENT_DATA "\ndata: "
#define EVENT_END  "\n\n"

size_t http1_event_begin(const char *name, size_t data_size, bool chunked, char target[HTTP1_EVENT_BEGIN_SIZE])
{
    struct text text = {target, 0, HTTP1_EVENT_BEGIN_SIZE};
    size_t name_size = strlen(name);
    if (name_size > HTTP1_EVENT_NAME_MAX) {
        name_size = HTTP1_EVENT_NAME_MAX;
    }
    if (chunked) {
        size_t frame = sizeof EVENT_NAME - 1 + name_size + sizeof EVENT_DATA - 1 + sizeof EVENT_END - 1;
        response_append_chunk_size(&text, frame + data_size);
    }
    response_append(&text, EVENT_NAME);
    response_append_bytes(&text, name, name_size);
    response_append(&text, EVENT_DATA);
    return text.size;
}

struct view http1_event_end(bool chunked) { return view_of(chunked ? EVENT_END "\r\n" : EVENT_END); }

struct view http1_stream_end(bool chunked) { return view_of(chunked ? "0\r\n\r\n" : ""); }
