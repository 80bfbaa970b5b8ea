/* http1_request: a head is taken or refused alike however it was cut; and of a head that was taken a second reading,
 * line by line and as naive as can be, finds the same end, the same length and no two opinions. */
#include "wire/http1_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { LIMIT = 1000 };

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

struct verdict {
    enum wire_step step;
    struct http1_request request;
    struct http1_error err;
};

/* Feeds all that has arrived, `chunk` bytes more each time, in memory of exactly that size. */
static struct verdict feed(const unsigned char *data, size_t size, size_t chunk)
{
    struct verdict verdict = {.step = WIRE_MORE, .request = http1_request_make(LIMIT)};
    for (size_t arrived = 0; verdict.step == WIRE_MORE && arrived < size;) {
        arrived = size - arrived < chunk ? size : arrived + chunk;
        unsigned char *copy = malloc(arrived);
        memcpy(copy, data, arrived);
        verdict.step = http1_request_feed(&verdict.request, copy, arrived, &verdict.err);
        free(copy);
    }
    return verdict;
}

static void check_span(const struct http1_request *request, struct http1_span span)
{
    require((size_t)span.at + span.size <= request->head_size);
}

struct reading {
    int hosts;
    int lengths;
    int encodings;
    unsigned long long length;
};

static void read_field(char *line, struct reading *reading)
{
    char *colon = strchr(line, ':');
    require(colon != NULL && colon > line);
    size_t name = (size_t)(colon - line);
    char *value = colon + 1 + strspn(colon + 1, " \t");
    value[strcspn(value, " \t")] = '\0'; /* none of those looked at has white space inside */
    require(strcspn(line, " \t") >= name);
    if (name == 4 && strncasecmp(line, "host", name) == 0) {
        reading->hosts++;
    } else if (name == 14 && strncasecmp(line, "content-length", name) == 0) {
        reading->lengths++;
        require(value[0] != '\0' && strspn(value, "0123456789") == strlen(value));
        reading->length = strtoull(value, NULL, 10);
    } else if (name == 17 && strncasecmp(line, "transfer-encoding", name) == 0) {
        reading->encodings++;
        require(strcasecmp(value, "chunked") == 0);
    }
}

static void read_again(const unsigned char *data, const struct http1_request *request)
{
    char *head = calloc(1, request->head_size + 1);
    memcpy(head, data, request->head_size);
    require(strlen(head) == request->head_size);
    struct reading reading = {0};
    char *line = head + (memcmp(head, "\r\n", 2) == 0 ? 2 : 0);
    for (int number = 0;; number++) {
        char *end = line + strcspn(line, "\r\n");
        require(end[0] == '\r' && end[1] == '\n');
        if (end == line) {
            require(end + 2 == head + request->head_size);
            break;
        }
        *end = '\0';
        if (number > 0) {
            read_field(line, &reading);
        }
        line = end + 2;
    }
    require(reading.hosts <= 1 && (reading.hosts == 1 || request->minor == 0));
    require(reading.lengths + reading.encodings <= 1);
    require((request->body == HTTP1_BODY_CHUNKED) == (reading.encodings == 1));
    require(request->content_length == reading.length && reading.length <= LIMIT);
    free(head);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    size_t chunk = (size_t)2 + data[0];
    data++;
    size--;
    struct verdict whole = feed(data, size, size > 0 ? size : 1);
    struct verdict bytewise = feed(data, size, 1);
    struct verdict chunked = feed(data, size, chunk);
    require(whole.step == bytewise.step && whole.step == chunked.step);
    if (whole.step == WIRE_BAD) {
        require(whole.err.status == bytewise.err.status && whole.err.status == chunked.err.status);
        require(whole.err.offset == bytewise.err.offset && whole.err.text == bytewise.err.text);
        require(whole.err.offset <= size && whole.err.text[0] != '\0');
        require(whole.err.status == 400 || whole.err.status == 413 || whole.err.status == 417 ||
                whole.err.status == 505);
    }
    if (whole.step == WIRE_DONE) {
        require(memcmp(&whole.request, &bytewise.request, sizeof whole.request) == 0);
        require(whole.request.head_size <= size);
        check_span(&whole.request, whole.request.path);
        check_span(&whole.request, whole.request.content_encoding);
        check_span(&whole.request, whole.request.request_id);
        check_span(&whole.request, whole.request.traceparent);
        read_again(data, &whole.request);
    }
    return 0;
}
