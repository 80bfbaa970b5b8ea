#include "wire/reply.h"

#include "base/text.h"
#include "wire/framed.h"
#include "wire/http1_response.h"
#include "json/writer.h"

#define SUCCESS_BEGIN "{\"status\":\"ok\",\"result\":"

enum buffer_status reply_success_begin(struct buffer *out)
{
    return buffer_append(out, SUCCESS_BEGIN, sizeof SUCCESS_BEGIN - 1);
}

enum buffer_status reply_success_end(struct buffer *out) { return buffer_append(out, "}", 1); }

static enum buffer_status reply_append(struct buffer *out, const char *text)
{
    return buffer_append(out, text, strlen(text));
}

enum buffer_status reply_error(struct buffer *out, enum error_category category, struct view text, struct view type)
{
    out->size = 0;
    text.size = text_cut(text.data, text.size, REPLY_TEXT_MAX);
    enum buffer_status status = reply_append(out, "{\"error\":\"");
    if (status == BUFFER_OK) {
        status = reply_append(out, error_code(category));
    }
    if (status == BUFFER_OK) {
        status = reply_append(out, "\",\"message\":");
    }
    if (status == BUFFER_OK) {
        status = writer_string(out, text);
    }
    if (status == BUFFER_OK && category == ERR_PROCESSING) {
        status = reply_append(out, ",\"type\":");
        if (status == BUFFER_OK) {
            status = writer_string(out, type);
        }
    }
    return status == BUFFER_OK ? reply_append(out, "}") : status;
}

/* What a category is called in the length prefix and HTTP, which tell apart only errors of the message and of the
 * function. */
struct failure_form {
    const char *code;
    const char *name; /* class of the exception that a runtime in Python would have met; NULL: the error's type */
    struct view mro;  /* names of its ancestors, each ended by a NUL */
    unsigned status;  /* of HTTP */
};

#define MRO(names)                                                                                                     \
    {                                                                                                                  \
        names, sizeof names                                                                                            \
    } /* the literal's own NUL ends the last name */

static const struct failure_form forms[ERR_CATEGORIES] = {
    [ERR_NONE] = {"processing_error", "RuntimeError", MRO("Exception"), 500},
    [ERR_VALIDATION] = {"msg_parsing_error", "ValueError", MRO("Exception"), 400},
    [ERR_PROCESSING] = {"processing_error", NULL, {0}, 500},
    [ERR_TOO_LARGE] = {"msg_parsing_error", "ValueError", MRO("Exception"), 413},
    [ERR_EMPTY] = {"msg_parsing_error", "json.decoder.JSONDecodeError", MRO("ValueError\0Exception"), 400},
    [ERR_ENCODING] = {"msg_parsing_error", "UnicodeDecodeError", MRO("UnicodeError\0ValueError\0Exception"), 400},
    [ERR_JSON] = {"msg_parsing_error", "json.decoder.JSONDecodeError", MRO("ValueError\0Exception"), 400},
    [ERR_CONNECTION] = {"connection_error", "ConnectionError", MRO("OSError\0Exception"), 400},
    [ERR_SERVER] = {"processing_error", "RuntimeError", MRO("Exception"), 503},
    [ERR_MEMORY] = {"processing_error", "MemoryError", MRO("Exception"), 500},
};

static const struct failure_form *reply_form_of(const struct error *err)
{
    return &forms[err->category < ERR_CATEGORIES ? err->category : ERR_NONE];
}

struct reply_details reply_details_of(const struct error *err)
{
    const struct failure_form *form = reply_form_of(err);
    return (struct reply_details){.code = form->code,
                                  .text = view_of(err->text),
                                  .name = form->name != NULL ? form->name : err->type,
                                  .mro = form->mro};
}

/* The class without its module, for the length prefix; HTTP has the qualified name. */
static struct view reply_class_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return view_of(dot != NULL ? dot + 1 : name);
}

static void reply_write_names(struct writer *writer, struct view names)
{
    writer_open(writer, '[');
    for (const char *name = names.data; name < names.data + names.size; name += strlen(name) + 1) {
        writer_text(writer, view_of(name));
    }
    writer_close(writer, ']');
}

enum buffer_status reply_error_details(struct buffer *out, enum protocol protocol, const struct reply_details *details)
{
    struct writer writer = writer_make(out);
    if (protocol == PROTOCOL_FRAMED) {
        writer_open(&writer, '[');
    }
    writer_open(&writer, '{');
    writer_key(&writer, "error");
    writer_text(&writer, view_of(details->code));
    writer_key(&writer, "details");
    writer_open(&writer, '{');
    writer_key(&writer, "message");
    writer_text(&writer, details->text);
    writer_key(&writer, "type");
    if (protocol == PROTOCOL_HTTP) {
        writer_text(&writer, view_of(details->name));
        writer_key(&writer, "mro");
        reply_write_names(&writer, details->mro);
    } else {
        writer_text(&writer, details->type.size > 0 ? details->type : reply_class_of(details->name));
    }
    writer_key(&writer, "traceback");
    writer_text(&writer, details->traceback);
    writer_close(&writer, '}');
    writer_close(&writer, '}');
    if (protocol == PROTOCOL_FRAMED) {
        writer_close(&writer, ']');
    }
    return writer.status;
}

static enum buffer_status reply_write_error(struct buffer *out, enum protocol protocol, const struct error *err)
{
    struct reply_details details = reply_details_of(err);
    return reply_error_details(out, protocol, &details);
}

/* Writes the body after room for the longest head, since its size is known only then, and moves it up to the head. */
static enum buffer_status reply_write_framed(struct buffer *out, enum protocol protocol, unsigned status,
                                             const struct error *err)
{
    char head[HTTP1_RESPONSE_SIZE];
    size_t room = protocol == PROTOCOL_HTTP ? HTTP1_RESPONSE_SIZE : FRAMED_PREFIX_SIZE;
    enum buffer_status step = buffer_reserve(out, room);
    if (step != BUFFER_OK) {
        return step;
    }
    out->size = room;
    step = reply_write_error(out, protocol, err);
    if (step != BUFFER_OK) {
        return step;
    }
    size_t body = out->size - room;
    size_t used = FRAMED_PREFIX_SIZE;
    if (protocol == PROTOCOL_HTTP) {
        struct http1_response response = {.status = status, .content_length = body, .minor = 1};
        used = http1_response_head(&response, head);
    } else {
        framed_prefix((unsigned char *)head, (uint32_t)body);
    }
    memcpy(out->data, head, used);
    memmove(out->data + used, out->data + room, body);
    out->size = used + body;
    return BUFFER_OK;
}

enum buffer_status reply_failure_http(struct buffer *out, enum protocol protocol, unsigned status,
                                      const struct error *err)
{
    out->size = 0;
    if (protocol != PROTOCOL_FRAMED && protocol != PROTOCOL_HTTP) {
        return reply_error(out, err->category, view_of(err->text), view_of(err->type));
    }
    if (status == 0) {
        status = reply_form_of(err)->status;
    }
    return reply_write_framed(out, protocol, status, err);
}

enum buffer_status reply_failure(struct buffer *out, enum protocol protocol, const struct error *err)
{
    return reply_failure_http(out, protocol, 0, err);
}

/* Makes an event of its data, which is out->data[at..out->size): puts the beginning before it and the end after it. */
static enum buffer_status close_event(struct buffer *out, size_t at, const char *name, bool chunked)
{
    char begin[HTTP1_EVENT_BEGIN_SIZE];
    size_t data_size = out->size - at;
    size_t begin_size = http1_event_begin(name, data_size, chunked, begin);
    struct view end = http1_event_end(chunked);
    enum buffer_status status = buffer_reserve(out, begin_size + end.size);
    if (status != BUFFER_OK) {
        return status;
    }
    memmove(out->data + at + begin_size, out->data + at, data_size);
    memcpy(out->data + at, begin, begin_size);
    out->size += begin_size;
    return buffer_append(out, end.data, end.size);
}

enum buffer_status reply_stream_end(struct buffer *out, struct reply_stream_end lacks, const struct error *err)
{
    out->size = 0;
    enum buffer_status status = BUFFER_OK;
    if (lacks.error) {
        status = reply_write_error(out, PROTOCOL_HTTP, err);
        status = status == BUFFER_OK ? close_event(out, 0, "error", lacks.chunked) : status;
    }
    size_t at = out->size;
    if (status == BUFFER_OK && lacks.done) {
        status = reply_append(out, "{}");
        status = status == BUFFER_OK ? close_event(out, at, "done", lacks.chunked) : status;
    }
    struct view end = http1_stream_end(lacks.chunked);
    return status == BUFFER_OK ? buffer_append(out, end.data, end.size) : status;
}

#define NO_MEMORY "no memory left to answer this message"
#define FRAMED_NO_MEMORY                                                                                               \
    "[{\"error\":\"processing_error\",\"details\":{\"message\":\"" NO_MEMORY                                           \
    "\",\"type\":\"MemoryError\",\"traceback\":\"\"}}]"
#define HTTP_NO_MEMORY                                                                                                 \
    "{\"error\":\"processing_error\",\"details\":{\"message\":\"" NO_MEMORY                                            \
    "\",\"type\":\"MemoryError\",\"mro\":[\"Exception\"],\"traceback\":\"\"}}"
#define HTTP_NO_MEMORY_SIZE "146" /* bytes of that: a test counts them */

struct view reply_out_of_memory(enum protocol protocol)
{
    switch (protocol) {
    case PROTOCOL_FRAMED: /* a length of 0x80 */
        return (struct view){"\0\0\0\x80" FRAMED_NO_MEMORY, sizeof FRAMED_NO_MEMORY + FRAMED_PREFIX_SIZE - 1};
    case PROTOCOL_HTTP:
        return view_of("HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
                       "Content-Length: " HTTP_NO_MEMORY_SIZE "\r\nConnection: close\r\n\r\n" HTTP_NO_MEMORY);
    default:
        return view_of("{\"error\":\"out_of_memory\",\"message\":\"" NO_MEMORY "\"}");
    }
}
