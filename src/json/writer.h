/*
 * A writer for the project's own JSON documents: error replies, events. Output is always valid JSON and
 * UTF-8. For what a user's function returns there is codec/encode.h.
 *
 *     struct writer writer = writer_make(&buffer);
 *     writer_open(&writer, '{');
 *     writer_key(&writer, "error");
 *     writer_text(&writer, view_of("server_error"));
 *     writer_close(&writer, '}');
 *     return writer.status;
 *
 * The first failure (limit, memory) sticks in `status` and makes all later calls do nothing; the buffer then holds part
 * of the document.
 */
#ifndef ASYA_JSON_WRITER_H
#define ASYA_JSON_WRITER_H

#include "base/buffer.h"
#include "base/view.h"

struct writer {
    struct buffer *out; /* borrowed */
    enum buffer_status status;
    bool comma; /* private: a value stands before this place */
};

static inline struct writer writer_make(struct buffer *out) { return (struct writer){.out = out, .status = BUFFER_OK}; }

/* '{' or '[', and their counterparts. */
void writer_open(struct writer *writer, char bracket);
void writer_close(struct writer *writer, char bracket);

/* The key of the next value. `key` is written as it is: it must be ASCII that needs no escape. */
void writer_key(struct writer *writer, const char *key);

/* A value. Bytes of a text that are not well-formed UTF-8 become U+FFFD. */
void writer_text(struct writer *writer, struct view text);

/* Likewise, JSON as it is: a number, true, false or null. */
void writer_token(struct writer *writer, const char *token);

/* Appends `text` as a JSON string with its quotes; bytes that are not well-formed UTF-8 become U+FFFD. On failure the
 * buffer may hold part of it. */
enum buffer_status writer_string(struct buffer *out, struct view text);

#endif
