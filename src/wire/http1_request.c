#include "wire/http1_request.h"

#include "wire/http1_bytes.h"

/* Spans are 16 bits wide. */
_Static_assert(HTTP1_HEAD_MAX <= UINT16_MAX, "a place in a head fits a span");

enum stage { STAGE_START, STAGE_LINE, STAGE_FIELDS };

enum field {
    FIELD_OTHER,
    FIELD_HOST,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_CONNECTION,
    FIELD_EXPECT,
    FIELD_CONTENT_ENCODING,
    FIELD_REQUEST_ID,
    FIELD_TRACEPARENT,
    FIELD_TRACESTATE,
    FIELD_COUNT,
};

/* In small letters. */
#define NAME(text)                                                                                                     \
    {                                                                                                                  \
        text, sizeof text - 1                                                                                          \
    }
static const struct view field_names[FIELD_COUNT] = {
    [FIELD_HOST] = NAME("host"),
    [FIELD_CONTENT_LENGTH] = NAME("content-length"),
    [FIELD_TRANSFER_ENCODING] = NAME("transfer-encoding"),
    [FIELD_CONNECTION] = NAME("connection"),
    [FIELD_EXPECT] = NAME("expect"),
    [FIELD_CONTENT_ENCODING] = NAME("content-encoding"),
    [FIELD_REQUEST_ID] = NAME("x-request-id"),
    [FIELD_TRACEPARENT] = NAME("traceparent"),
    [FIELD_TRACESTATE] = NAME("tracestate"),
};

/* A piece of the message by its offsets, which errors need as well. */
struct piece {
    const unsigned char *message;
    size_t at;
    size_t end;
};

struct http1_request http1_request_make(uint64_t limit) { return (struct http1_request){.limit = limit}; }

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

static size_t piece_size(struct piece piece) { return piece.end - piece.at; }

static struct http1_span piece_span(struct piece piece)
{
    return (struct http1_span){(uint16_t)piece.at, (uint16_t)piece_size(piece)};
}

/* The offset of the first byte that is not in `class`, or the end. */
static size_t piece_skip(struct piece piece, unsigned char class)
{
    while (piece.at < piece.end && http1_byte_is(piece.message[piece.at], class)) {
        piece.at++;
    }
    return piece.at;
}

static bool is_blank(unsigned char byte) { return byte == ' ' || byte == '\t'; }

static struct piece piece_trim(struct piece piece)
{
    while (piece.at < piece.end && is_blank(piece.message[piece.at])) {
        piece.at++;
    }
    while (piece.at < piece.end && is_blank(piece.message[piece.end - 1])) {
        piece.end--;
    }
    return piece;
}

/* Compares without regard to case. `lower` may have small letters, digits and '-' only, which are all that `| 0x20`
 * leaves as they are. */
static bool piece_equals_view(struct piece piece, struct view lower)
{
    if (piece_size(piece) != lower.size) {
        return false;
    }
    for (size_t i = 0; i < lower.size; i++) {
        if ((piece.message[piece.at + i] | 0x20) !=
            lower.data[i]) { /* a line has no control characters, which would become one of these, too */
            return false;
        }
    }
    return true;
}

static bool piece_equals(struct piece piece, const char *lower) { return piece_equals_view(piece, view_of(lower)); }

static bool piece_starts_with(struct piece piece, const char *lower)
{
    struct piece start = piece;
    start.end = piece.at + strlen(lower);
    return start.end <= piece.end && piece_equals(start, lower);
}

/* ---- the request line ------------------------------------------------------------------------------------------- */

static enum http1_method method_of(struct piece method)
{
    static const struct {
        const char *name;
        enum http1_method method;
    } methods[] = {{"GET", HTTP1_GET}, {"HEAD", HTTP1_HEAD}, {"POST", HTTP1_POST}};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        size_t size = strlen(methods[i].name);
        if (piece_size(method) == size && memcmp(method.message + method.at, methods[i].name, size) == 0) {
            return methods[i].method;
        }
    }
    return HTTP1_OTHER;
}

static enum wire_step take_version(struct http1_request *request, struct piece version, struct http1_error *err)
{
    const unsigned char *text = version.message + version.at;
    if (piece_size(version) != 8 || memcmp(text, "HTTP/", 5) != 0 || text[5] < '0' || text[5] > '9' || text[6] != '.' ||
        text[7] < '0' || text[7] > '9') {
        return http1_refuse(err, 400, version.at, "the request line does not end with an HTTP version");
    }
    if (text[5] != '1') {
        return http1_refuse(err, 505, version.at, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    }
    request->minor = text[7] != '0'; /* a later minor version is a superset (RFC 9110, section 2.5) */
    return WIRE_DONE;
}

/* RFC 9112, section 3.2: "/path?query", "http://authority/path?query", or "*". The form for CONNECT is refused. */
static enum wire_step take_target(struct http1_request *request, struct piece target, struct http1_error *err)
{
    struct piece path = target;
    if (piece_starts_with(target, "http://")) {
        path.at += strlen("http://");
        size_t authority = path.at;
        while (path.at < path.end && path.message[path.at] != '/' && path.message[path.at] != '?') {
            path.at++;
        }
        if (path.at == authority) {
            return http1_refuse(err, 400, path.at, "the request target names no host");
        }
    } else if (piece_size(target) == 0 ||
               (target.message[target.at] != '/' && !(piece_size(target) == 1 && target.message[target.at] == '*'))) {
        return http1_refuse(err, 400, target.at, "the request target is neither a path nor an http URL");
    }
    for (size_t at = path.at; at < path.end; at++) {
        if (path.message[at] == '?') {
            path.end = at;
        }
    }
    request->path = piece_span(path);
    return WIRE_DONE;
}

static enum wire_step take_request_line(struct http1_request *request, struct piece line, struct http1_error *err)
{
    struct piece method = line;
    method.end = piece_skip(line, HTTP1_TOKEN);
    if (piece_size(method) == 0 || method.end == line.end || line.message[method.end] != ' ') {
        return http1_refuse(err, 400, method.end, "the request line does not begin with a method and a space");
    }
    struct piece target = line;
    target.at = method.end + 1;
    target.end = piece_skip(target, HTTP1_TARGET);
    if (target.end == line.end || line.message[target.end] != ' ') {
        return http1_refuse(err, 400, target.end,
                            "the request line is not method, target and version, one space apart");
    }
    struct piece version = line;
    version.at = target.end + 1;
    enum wire_step step = take_version(request, version, err);
    if (step == WIRE_DONE) {
        step = take_target(request, target, err);
    }
    if (step == WIRE_DONE) {
        request->method = method_of(method);
        request->stage = STAGE_FIELDS;
    }
    return step;
}

/* ---- fields ----------------------------------------------------------------------------------------------------- */

static enum field field_of(struct piece name)
{
    for (enum field field = FIELD_OTHER + 1; field < FIELD_COUNT; field++) {
        if (piece_equals_view(name, field_names[field])) {
            return field;
        }
    }
    return FIELD_OTHER;
}

static enum wire_step take_host(struct http1_request *request, struct piece value, struct http1_error *err)
{
    if (request->has_host) {
        return http1_refuse(err, 400, value.at, "more than one Host");
    }
    size_t end = piece_skip(value, HTTP1_HOST);
    if (end != value.end) {
        return http1_refuse(err, 400, end, "Host is no host");
    }
    request->has_host = true;
    return WIRE_DONE;
}

static enum wire_step take_content_length(struct http1_request *request, struct piece value, struct http1_error *err)
{
    if (request->has_length) {
        return http1_refuse(err, 400, value.at, "more than one Content-Length");
    }
    uint64_t length = 0;
    for (size_t at = value.at; at < value.end; at++) {
        unsigned char byte = value.message[at];
        if (byte < '0' || byte > '9') {
            return http1_refuse(err, 400, at, "Content-Length is not digits alone");
        }
        if (__builtin_mul_overflow(length, 10, &length) || __builtin_add_overflow(length, byte - '0', &length)) {
            length = UINT64_MAX; /* exceeds every limit; further digits overflow again, so it stays so */
        }
    }
    if (piece_size(value) == 0) {
        return http1_refuse(err, 400, value.at, "Content-Length is empty");
    }
    request->has_length = true;
    request->content_length = length;
    return WIRE_DONE;
}

/* Other codings than chunked are refused with 400, not 501: we never said that we understand any, so no client has a
 * reason to use one. */
static enum wire_step take_transfer_encoding(struct http1_request *request, struct piece value, struct http1_error *err)
{
    if (request->has_encoding) {
        return http1_refuse(err, 400, value.at, "more than one Transfer-Encoding");
    }
    if (!piece_equals(value, "chunked")) {
        return http1_refuse(err, 400, value.at, "Transfer-Encoding is not \"chunked\"");
    }
    request->has_encoding = true;
    return WIRE_DONE;
}

/* A list of options (RFC 9110, section 7.6.1). Unknown ones are ignored. */
static void take_connection(struct http1_request *request, struct piece value)
{
    while (value.at < value.end) {
        struct piece option = value;
        while (value.at < value.end && value.message[value.at] != ',') {
            value.at++;
        }
        option.end = value.at;
        option = piece_trim(option);
        request->says_close |= piece_equals(option, "close");
        request->says_keep_alive |= piece_equals(option, "keep-alive");
        value.at += value.at < value.end;
    }
}

static void take_expect(struct http1_request *request, struct piece value)
{
    if (piece_equals(value, "100-continue")) {
        request->expect_continue = true;
    } else {
        request->has_unknown_expectation = true;
    }
}

static void take_first(struct http1_span *span, struct piece value)
{
    if (span->size == 0) {
        *span = piece_span(value);
    }
}

static enum wire_step take_value(struct http1_request *request, enum field field, struct piece value,
                                 struct http1_error *err)
{
    switch (field) {
    case FIELD_HOST:
        return take_host(request, value, err);
    case FIELD_CONTENT_LENGTH:
        return take_content_length(request, value, err);
    case FIELD_TRANSFER_ENCODING:
        return take_transfer_encoding(request, value, err);
    case FIELD_CONNECTION:
        take_connection(request, value);
        break;
    case FIELD_EXPECT:
        take_expect(request, value);
        break;
    case FIELD_CONTENT_ENCODING:
        if (!piece_equals(value, "identity")) {
            take_first(&request->content_encoding, value);
        }
        break;
    case FIELD_REQUEST_ID:
        take_first(&request->request_id, value);
        break;
    case FIELD_TRACEPARENT:
        take_first(&request->traceparent, value);
        break;
    case FIELD_TRACESTATE:
        take_first(&request->tracestate, value);
        break;
    case FIELD_OTHER:
    case FIELD_COUNT:
        break;
    }
    return WIRE_DONE;
}

static enum wire_step take_field(struct http1_request *request, struct piece line, struct http1_error *err)
{
    if (is_blank(line.message[line.at])) {
        return http1_refuse(err, 400, line.at, "a header line begins with white space");
    }
    struct piece name = line;
    name.end = piece_skip(line, HTTP1_TOKEN);
    if (name.end == line.end || line.message[name.end] != ':') {
        return http1_refuse(err, 400, name.end,
                            name.end < line.end && is_blank(line.message[name.end])
                                ? "white space in or behind the name of a header field"
                                : "a header line is not a name and a colon");
    }
    if (piece_size(name) == 0) {
        return http1_refuse(err, 400, line.at, "a header field without a name");
    }
    if (++request->fields > HTTP1_FIELDS_MAX) {
        return http1_refuse(err, 400, line.at, "more than 100 header fields");
    }
    struct piece value = line;
    value.at = name.end + 1;
    return take_value(request, field_of(name), piece_trim(value), err);
}

/* ---- the head --------------------------------------------------------------------------------------------------- */

/* All fields are read: checks them together. Malformed requests are refused before those that are only too large. */
static enum wire_step request_finish(struct http1_request *request, size_t end, struct http1_error *err)
{
    if (request->has_encoding && request->has_length) {
        return http1_refuse(err, 400, end, "both Content-Length and Transfer-Encoding");
    }
    if (request->has_encoding && request->minor == 0) { /* RFC 9112, section 6.1 */
        return http1_refuse(err, 400, end, "HTTP/1.0 has no Transfer-Encoding");
    }
    if (!request->has_host && request->minor > 0) {
        return http1_refuse(err, 400, end, "no Host");
    }
    if (request->minor > 0 && request->has_unknown_expectation) {
        return http1_refuse(err, 417, end, "only the expectation 100-continue can be met");
    }
    if (request->content_length > request->limit) {
        return http1_refuse(err, 413, end, "the body is larger than ASYA_MAX_MESSAGE_SIZE");
    }
    request->body = request->has_encoding                                ? HTTP1_BODY_CHUNKED
                    : request->has_length && request->content_length > 0 ? HTTP1_BODY_LENGTH
                                                                         : HTTP1_BODY_NONE;
    request->keep_alive = !request->says_close && (request->minor > 0 || request->says_keep_alive);
    request->expect_continue &= request->minor > 0 && request->body != HTTP1_BODY_NONE; /* RFC 9110, section 10.1.1 */
    request->head_size = (uint32_t)end;
    return WIRE_DONE;
}

/* Whether eight bytes may all stand in a line, the tab aside: no byte is below 0x20, and none is 0x7F. */
static bool are_text(const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    uint64_t low = word & 0x7F7F7F7F7F7F7F7F;
    uint64_t refused = (~(low + 0x6060606060606060) | (low + 0x0101010101010101)) & ~word;
    return (refused & 0x8080808080808080) == 0;
}

/* Goes on looking for the end of the line in the bytes not checked before. WIRE_DONE: `*ret_end` is the offset of its
 * CR. */
static enum wire_step find_line_end(struct http1_request *request, const unsigned char *message, uint32_t size,
                                    uint32_t *ret_end, struct http1_error *err)
{
    uint32_t at =
        request->checked; /* a local copy: through the pointer each step would wait for the store of the one before */
    while (size - at >= 8 && are_text(message + at)) {
        at += 8;
    }
    while (at < size && http1_byte_is(message[at], HTTP1_TEXT)) {
        at++;
    }
    request->checked = at;
    if (at == size) {
        return WIRE_MORE;
    }
    if (message[at] != '\r') {
        return http1_refuse(err, 400, at, message[at] == '\n' ? "a line ends with LF alone" : "a control character");
    }
    if (at + 1 == size) {
        return WIRE_MORE;
    }
    if (message[at + 1] != '\n') {
        return http1_refuse(err, 400, at, "a CR without LF");
    }
    *ret_end = at;
    request->checked = at + 2;
    return WIRE_DONE;
}

/* WIRE_MORE: the head goes on after this line. */
static enum wire_step take_line(struct http1_request *request, struct piece line, struct http1_error *err)
{
    bool is_empty = line.at == line.end;
    switch ((enum stage)request->stage) {
    case STAGE_START:
        request->stage = STAGE_LINE;
        if (is_empty) {
            return WIRE_MORE;
        }
        break;
    case STAGE_LINE:
        break;
    case STAGE_FIELDS:
        if (is_empty) {
            return request_finish(request, line.end + 2, err);
        }
        return take_field(request, line, err) == WIRE_BAD ? WIRE_BAD : WIRE_MORE;
    }
    return take_request_line(request, line, err) == WIRE_BAD ? WIRE_BAD : WIRE_MORE;
}

enum wire_step http1_request_feed(struct http1_request *request, const unsigned char *message, size_t size,
                                  struct http1_error *err)
{
    uint32_t end = size < HTTP1_HEAD_MAX ? (uint32_t)size : HTTP1_HEAD_MAX;
    uint32_t line_end;
    enum wire_step step = WIRE_MORE;
    while (step == WIRE_MORE) {
        step = find_line_end(request, message, end, &line_end, err);
        if (step != WIRE_DONE) {
            break;
        }
        step = take_line(request, (struct piece){message, request->line, line_end}, err);
        request->line = request->checked;
    }
    if (step == WIRE_MORE && end == HTTP1_HEAD_MAX) {
        return http1_refuse(err, 400, end, "the head is larger than 16384 bytes");
    }
    return step;
}
