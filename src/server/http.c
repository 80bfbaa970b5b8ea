#include "server/http.h"

#include "server/intake.h"
#include "server/output.h"
#include "server/slot.h"

#include <string.h>
#include <sys/socket.h>

enum { FIXED_BODY_MAX = 96 };

void http_begin(struct conn *conn)
{
    conn->http.request = http1_request_make(conn->host->max_message);
    conn->http.has_head = false;
}

static void write_head(struct conn *conn, unsigned status, size_t size, const char *allow)
{
    struct http1_response response = {.status = status,
                                      .content_length = size,
                                      .keep_alive = conn->keep_alive,
                                      .minor = conn->http.request.minor,
                                      .allow = allow};
    conn->head_size = (uint32_t)http1_response_head(&response, conn->head);
}

void http_head(struct conn *conn, unsigned status, size_t size) { write_head(conn, status, size, NULL); }

/* A reply of our own with a fixed body. A request whose body is still to come ends the connection. */
static void answer_fixed(struct conn *conn, const unsigned char *message, size_t size, unsigned status,
                         const char *allow, const char *body)
{
    const struct http1_request *request = &conn->http.request;
    bool whole = request->body == HTTP1_BODY_NONE;
    char bytes[HTTP1_RESPONSE_SIZE + FIXED_BODY_MAX];
    conn->keep_alive = conn->keep_alive && whole;
    conn->refused = !whole;
    conn->request_end = request->head_size;
    intake_keep_rest(conn, message, size);
    write_head(conn, status, strlen(body), allow);
    memcpy(bytes, conn->head, conn->head_size);
    size_t used = conn->head_size;
    if (request->method != HTTP1_HEAD) {
        memcpy(bytes + used, body, strlen(body));
        used += strlen(body);
    }
    slot_reply(conn);
    output_small(conn, (struct view){bytes, used});
}

static void refuse(struct conn *conn, const struct http1_error *http)
{
    struct error err;
    if (http->status == 413) {
        error_set(&err, ERR_TOO_LARGE, http->offset, "the body is larger than %zu bytes (ASYA_MAX_MESSAGE_SIZE)",
                  conn->host->max_message);
    } else {
        error_set(&err, ERR_VALIDATION, http->offset, "malformed HTTP request: %s (byte %zu)", http->text,
                  http->offset);
    }
    conn->keep_alive = false;
    conn_refuse_http(conn, http->status, &err);
}

/* RFC 9110, section 15.5.16. Nothing is unpacked here: a small body could become a large message. */
static void refuse_encoding(struct conn *conn, struct view encoding)
{
    struct error err;
    error_set(&err, ERR_VALIDATION, 0, "Content-Encoding is '%.*s': only an unpacked body can be read",
              (int)(encoding.size < 64 ? encoding.size : 64), encoding.data);
    conn->keep_alive = false;
    conn_refuse_http(conn, 415, &err);
}

/* Sends "100 Continue" where the client waits for it. A client that takes no 25 bytes gets no reply either. */
static bool invite_body(struct conn *conn)
{
    struct view interim = http1_continue();
    return send(conn->fd, interim.data, interim.size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)interim.size;
}

/* The head is complete: WIRE_MORE if its body is for the service, else it is answered. */
static enum wire_step route(struct conn *conn, const unsigned char *message, size_t size)
{
    const struct http1_request *request = &conn->http.request;
    struct view path = http1_view(message, request->path);
    bool reads = request->method == HTTP1_GET || request->method == HTTP1_HEAD;
    if (view_is(path, "/healthz")) {
        if (!reads) {
            answer_fixed(conn, message, size, 405, "GET, HEAD", "{\"error\":\"method_not_allowed\"}");
        } else if (conn->host->draining) {
            answer_fixed(conn, message, size, 503, NULL, "{\"status\":\"stopping\"}");
        } else {
            answer_fixed(conn, message, size, 200, NULL, "{\"status\":\"ready\"}");
        }
        return WIRE_BAD;
    }
    if (!view_is(path, "/invoke")) {
        answer_fixed(conn, message, size, 404, NULL,
                     "{\"error\":\"not_found\",\"message\":\"there are POST /invoke and GET /healthz\"}");
        return WIRE_BAD;
    }
    if (request->method != HTTP1_POST) {
        answer_fixed(conn, message, size, 405, "POST", "{\"error\":\"method_not_allowed\"}");
        return WIRE_BAD;
    }
    if (request->body == HTTP1_BODY_NONE || (request->body == HTTP1_BODY_LENGTH && request->content_length == 0)) {
        struct http1_error err;
        (void)http1_refuse(&err, 400, request->head_size, "the request has no body");
        refuse(conn, &err);
        return WIRE_BAD;
    }
    if (request->content_encoding.size > 0) {
        refuse_encoding(conn, http1_view(message, request->content_encoding));
        return WIRE_BAD;
    }
    if (request->expect_continue && size == request->head_size && !invite_body(conn)) {
        conn_close(conn);
        return WIRE_BAD;
    }
    return WIRE_MORE;
}

static enum wire_step feed_body(struct conn *conn, unsigned char *message, size_t *size)
{
    const struct http1_request *request = &conn->http.request;
    struct http1_error err;
    conn->body_at = request->head_size;
    if (request->body == HTTP1_BODY_LENGTH) {
        conn->body_size = (size_t)request->content_length;
        conn->request_end = conn->body_at + conn->body_size;
        return *size >= conn->request_end ? WIRE_DONE : WIRE_MORE;
    }
    size_t body_bytes = *size - conn->body_at;
    enum wire_step step = http1_chunked_feed(&conn->http.chunked, message + conn->body_at, &body_bytes, &err);
    if (step == WIRE_BAD) {
        refuse(conn, &err);
        return WIRE_BAD;
    }
    *size = conn->body_at + body_bytes;
    conn->body_size = conn->http.chunked.size;
    conn->request_end = conn->body_at + conn->body_size;
    if (step == WIRE_DONE && conn->body_size == 0) {
        (void)http1_refuse(&err, 400, request->head_size, "the request has no body");
        refuse(conn, &err);
        return WIRE_BAD;
    }
    return step;
}

enum wire_step http_feed(struct conn *conn, unsigned char *message, size_t *size)
{
    struct http1_error err;
    if (!conn->http.has_head) {
        enum wire_step step = http1_request_feed(&conn->http.request, message, *size, &err);
        if (step == WIRE_BAD) {
            refuse(conn, &err);
        }
        if (step != WIRE_DONE) {
            return step;
        }
        conn->http.has_head = true;
        conn->http.chunked = http1_chunked_make(conn->host->max_message);
        conn->keep_alive = conn->http.request.keep_alive && !conn->host->closing && !conn->parting;
        if (route(conn, message, *size) == WIRE_BAD) {
            return WIRE_BAD;
        }
    }
    return feed_body(conn, message, size);
}
