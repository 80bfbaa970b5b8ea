#include "python/error_reply.h"

#include "json/writer.h"

static void write_names(struct writer *writer, const char *names, size_t size)
{
    writer_open(writer, '[');
    for (const char *name = names; name < names + size; name += strlen(name) + 1) {
        writer_text(writer, view_of(name));
    }
    writer_close(writer, ']');
}

static void write_details(struct writer *writer, enum protocol protocol, const struct failure *failure)
{
    writer_open(writer, '{');
    writer_key(writer, "message");
    writer_text(writer, (struct view){failure->text, failure->text_size});
    writer_key(writer, "type");
    if (protocol == PROTOCOL_HTTP) {
        writer_text(writer, view_of(failure->name));
        writer_key(writer, "mro");
        write_names(writer, failure->mro, failure->mro_size);
    } else {
        const char *dot = strrchr(failure->name, '.');
        bool bare = failure->type_size == 0; /* an error of our own: only its full name is known */
        writer_text(writer, bare ? view_of(dot != NULL ? dot + 1 : failure->name)
                                 : (struct view){failure->type, failure->type_size});
    }
    writer_key(writer, "traceback");
    writer_text(writer, view_of(failure->traceback));
    writer_close(writer, '}');
}

void error_reply_write(enum protocol protocol, bool before_call, const struct failure *failure, struct buffer *out)
{
    out->size = 0;
    if (protocol == PROTOCOL_RAW) {
        if (reply_error(out, failure->category, (struct view){failure->text, failure->text_size},
                        (struct view){failure->type, failure->type_size}) != BUFFER_OK) {
            out->size = 0;
        }
        return;
    }
    struct writer writer = writer_make(out);
    if (protocol == PROTOCOL_FRAMED) {
        writer_open(&writer, '[');
    }
    writer_open(&writer, '{');
    writer_key(&writer, "error");
    writer_text(&writer, view_of(before_call ? "msg_parsing_error" : "processing_error"));
    writer_key(&writer, "details");
    write_details(&writer, protocol, failure);
    writer_close(&writer, '}');
    if (protocol == PROTOCOL_FRAMED) {
        writer_close(&writer, ']');
    }
    if (writer.status != BUFFER_OK) {
        out->size = 0;
    }
}
