#include "json/writer.h"

#include "base/text.h"
#include "json/escape.h"

enum { PORTION = 1024 }; /* bytes of a text for which the worst case is reserved at once */

enum buffer_status writer_string(struct buffer *out, struct view text)
{
    enum buffer_status status = buffer_append(out, "\"", 1);
    while (status == BUFFER_OK && text.size > 0) {
        size_t portion = text_cut(text.data, text.size, PORTION); /* no character is torn */
        unsigned char escaped[ESCAPE_ROOM(PORTION)];
        unsigned char *end = escape_untrusted(escaped, (const unsigned char *)text.data, portion);
        status = buffer_append(out, escaped, (size_t)(end - escaped));
        text.data += portion;
        text.size -= portion;
    }
    return status == BUFFER_OK ? buffer_append(out, "\"", 1) : status;
}

static void writer_put(struct writer *writer, const void *bytes, size_t size)
{
    if (writer->status == BUFFER_OK) {
        writer->status = buffer_append(writer->out, bytes, size);
    }
}

/* The comma a value or key may need before it; one is due after it. */
static void writer_begin(struct writer *writer)
{
    if (writer->comma) {
        writer_put(writer, ",", 1);
    }
    writer->comma = true;
}

void writer_open(struct writer *writer, char bracket)
{
    writer_begin(writer);
    writer_put(writer, &bracket, 1);
    writer->comma = false;
}

void writer_close(struct writer *writer, char bracket)
{
    writer_put(writer, &bracket, 1);
    writer->comma = true;
}

void writer_key(struct writer *writer, const char *key)
{
    writer_begin(writer);
    writer_put(writer, "\"", 1);
    writer_put(writer, key, strlen(key));
    writer_put(writer, "\":", 2);
    writer->comma = false;
}

void writer_text(struct writer *writer, struct view text)
{
    writer_begin(writer);
    if (writer->status == BUFFER_OK) {
        writer->status = writer_string(writer->out, text);
    }
}

void writer_token(struct writer *writer, const char *token)
{
    writer_begin(writer);
    writer_put(writer, token, strlen(token));
}
