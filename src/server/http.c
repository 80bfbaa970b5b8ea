#include "server/http.h"

#include "server/brief.h"

void http_begin(struct conn *conn)
{
    conn->http.request = http1_request_make(conn->host->config->max_message);
    conn->http.has_head = false;
}

void http_head(struct conn *conn, unsigned status, size_t size, const char *allow)
{
    struct http1_response response = {.status = status,
                                      .content_length = size,
                                      .keep_alive = conn->keep_alive,
                                      .minor = conn->http.request.minor,
                                      .allow = allow};
    conn->head_size = (uint32_t)http1_response_head(&response, conn->head);
}

/* The connection ends after the reply if the request has a body, since that is not read. */
static enum verdict http_fixed(struct conn *conn, struct verdict_details *details, unsigned status, const char *allow,
                               const char *body)
{
    const struct http1_request *request = &conn->http.request;
    bool whole = request->body == HTTP1_BODY_NONE;
    conn->keep_alive = conn->keep_alive && whole;
    conn->refused = !whole;
    conn->request_end = request->head_size;
    details->status = status;
    details->allow = allow;
    details->body = body;
    return VERDICT_FIXED;
}

static enum verdict http_refuse(const struct conn *conn, struct verdict_details *details,
                                const struct http1_error *http)
{
    details->status = http->status;
    if (http->status == 413) {
        error_set(&details->err, ERR_TOO_LARGE, http->offset,
                  "the body is larger than %zu bytes (ASYA_MAX_MESSAGE_SIZE)", conn->host->config->max_message);
    } else {
        error_set(&details->err, ERR_VALIDATION, http->offset, "malformed HTTP request: %s (byte %zu)", http->text,
                  http->offset);
    }
    return VERDICT_REFUSED;
}

static enum verdict http_refuse_no_body(const struct conn *conn, struct verdict_details *details)
{
    struct http1_error err;
    (void)http1_refuse(&err, 400, conn->http.request.head_size, "the request has no body");
    return http_refuse(conn, details, &err);
}

/* RFC 9110, section 15.5.16. Nothing is decompressed here, since a small body could become a very large message. */
static enum verdict http_refuse_encoding(struct verdict_details *details, struct view encoding)
{
    details->status = 415;
    error_set(&details->err, ERR_VALIDATION, 0, "Content-Encoding is '%.*s': only an uncompressed body can be read",
              (int)(encoding.size < 64 ? encoding.size : 64), encoding.data);
    return VERDICT_REFUSED;
}

/* Sends "100 Continue" if the client waits for it. */
static bool http_invite_body(const struct conn *conn)
{
    struct view interim = http1_continue();
    return brief_send(conn->fd, interim.data, interim.size);
}

/* GET and HEAD of the runtime's own paths: what /healthz and /readyz say, or that the runtime lives and has loaded the
 * function (/livez, /startupz): else nobody could ask here. */
static enum verdict http_probe(struct conn *conn, struct verdict_details *details, bool of_life)
{
    const struct http1_request *request = &conn->http.request;
    const struct scoreboard *board = conn->host->config->board;
    if (request->method != HTTP1_GET && request->method != HTTP1_HEAD) {
        return http_fixed(conn, details, 405, "GET, HEAD", "{\"error\":\"method_not_allowed\"}");
    }
    if (of_life) {
        return http_fixed(conn, details, 200, NULL, "{\"status\":\"alive\"}");
    }
    if (conn->host->stage == STAGE_DRAINING) {
        return http_fixed(conn, details, 503, NULL, "{\"status\":\"stopping\"}");
    }
    if (conn_host_is_unwell(conn->host)) {
        return http_fixed(conn, details, 503, NULL, "{\"status\":\"unhealthy\"}");
    }
    if (board != NULL && atomic_load_explicit(&board->draining, memory_order_relaxed) != 0) {
        return http_fixed(conn, details, 503, NULL, "{\"status\":\"draining\"}");
    }
    return http_fixed(conn, details, 200, NULL, "{\"status\":\"ready\"}");
}

/* Every path but /invoke, which is looked for first: each look costs some 60 instructions of a request. */
static enum verdict http_route_elsewhere(struct conn *conn, struct view path, struct verdict_details *details)
{
    bool of_life = view_is(path, "/livez") || view_is(path, "/startupz");
    if (of_life || view_is(path, "/healthz") || view_is(path, "/readyz")) {
        return http_probe(conn, details, of_life);
    }
    return http_fixed(conn, details, 404, NULL,
                      "{\"error\":\"not_found\",\"message\":\"there are POST /invoke and GET /healthz\"}");
}

/* The head is complete. Returns MORE if the request is for the service, and so its body is to be read. */
static enum verdict http_route(struct conn *conn, const unsigned char *message, size_t size,
                               struct verdict_details *details)
{
    const struct http1_request *request = &conn->http.request;
    struct view path = http1_view(message, request->path);
    if (!view_is(path, "/invoke")) {
        return http_route_elsewhere(conn, path, details);
    }
    if (request->method != HTTP1_POST) {
        return http_fixed(conn, details, 405, "POST", "{\"error\":\"method_not_allowed\"}");
    }
    if (request->body == HTTP1_BODY_NONE || (request->body == HTTP1_BODY_LENGTH && request->content_length == 0)) {
        return http_refuse_no_body(conn, details);
    }
    if (request->content_encoding.size > 0) {
        return http_refuse_encoding(details, http1_view(message, request->content_encoding));
    }
    if (request->expect_continue && size == request->head_size && !http_invite_body(conn)) {
        return VERDICT_GONE;
    }
    return VERDICT_MORE;
}

bool http_is_word(const unsigned char *message, size_t size)
{
    size_t letters = 0;
    while (letters < size && ((message[letters] | 0x20) >= 'a' && (message[letters] | 0x20) <= 'z')) {
        letters++;
    }
    size_t end = letters;
    while (end < size && (message[end] == '\r' || message[end] == '\n')) {
        end++;
    }
    return letters >= 3 && message[1] >= 'a' && end == size; /* methods have capital letters only */
}

static enum verdict http_feed_body(struct conn *conn, unsigned char *message, size_t *size,
                                   struct verdict_details *details)
{
    const struct http1_request *request = &conn->http.request;
    struct http1_error err;
    conn->body_at = request->head_size;
    if (request->body == HTTP1_BODY_LENGTH) {
        conn->body_size = (size_t)request->content_length;
        conn->request_end = conn->body_at + conn->body_size;
        return *size >= conn->request_end ? VERDICT_REQUEST : VERDICT_MORE;
    }
    size_t body_bytes = *size - conn->body_at;
    enum wire_step step = http1_chunked_feed(&conn->http.chunked, message + conn->body_at, &body_bytes, &err);
    if (step == WIRE_BAD) {
        return http_refuse(conn, details, &err);
    }
    *size = conn->body_at + body_bytes;
    conn->body_size = conn->http.chunked.size;
    conn->request_end = conn->body_at + conn->body_size;
    if (step == WIRE_DONE && conn->body_size == 0) {
        return http_refuse_no_body(conn, details);
    }
    return step == WIRE_DONE ? VERDICT_REQUEST : VERDICT_MORE;
}

enum verdict http_feed(struct conn *conn, unsigned char *message, size_t *size, struct verdict_details *ret_details)
{
    struct http1_error err;
    if (!conn->http.has_head) {
        enum wire_step step = http1_request_feed(&conn->http.request, message, *size, &err);
        if (step == WIRE_BAD && http_is_word(message, *size)) {
            (void)http1_refuse(&err, 400, 0, HTTP_WORD_HINT);
        }
        if (step != WIRE_DONE) {
            return step == WIRE_BAD ? http_refuse(conn, ret_details, &err) : VERDICT_MORE;
        }
        conn->http.has_head = true;
        conn->http.chunked = http1_chunked_make(conn->host->config->max_message);
        conn->keep_alive = conn->http.request.keep_alive && conn->host->stage == STAGE_SERVING && !conn->parting;
        enum verdict verdict = http_route(conn, message, *size, ret_details);
        if (verdict != VERDICT_MORE) {
            return verdict;
        }
    }
    return http_feed_body(conn, message, size, ret_details);
}
