/* A writer for the project's own JSON documents. Output is always valid JSON and UTF-8. */
#ifndef ASYA_JSON_WRITER_H
#define ASYA_JSON_WRITER_H

#include "base/buffer.h"
#include "base/view.h"

/* Appends `text` as a JSON string with its quotes; bytes that are not well-formed UTF-8 become U+FFFD. On failure the
 * buffer may hold part of it. */
enum buffer_status writer_string(struct buffer *out, struct view text);

#endif
