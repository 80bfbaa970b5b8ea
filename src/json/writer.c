#include "json/writer.h"

#include <stdio.h>

enum buffer_status writer_string(struct buffer *out, struct view text)
{
    enum buffer_status status = buffer_append(out, "\"", 1);
    for (size_t i = 0; i < text.size && status == BUFFER_OK; i++) {
        char escaped[8];
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', (char)c};
            status = buffer_append(out, pair, 2);
        } else if (c < 0x20) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", c);
            status = buffer_append(out, escaped, 6);
        } else {
            status = buffer_append(out, &c, 1);
        }
    }
    return status == BUFFER_OK ? buffer_append(out, "\"", 1) : status;
}
