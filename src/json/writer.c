#include "json/writer.h"

#include "json/escape.h"
#include "json/utf8.h"

enum buffer_status writer_string(struct buffer *out, struct view text)
{
    static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */
    const unsigned char *at = (const unsigned char *)text.data;
    size_t size = text.size;
    enum buffer_status status = buffer_append(out, "\"", 1);
    while (status == BUFFER_OK && size > 0) {
        size_t good = utf8_valid_prefix(at, size);
        status = escape_append(out, at, good);
        at += good;
        size -= good;
        if (status == BUFFER_OK && size > 0) {
            status = buffer_append(out, replacement, sizeof replacement - 1);
            at++;
            size--;
        }
    }
    return status == BUFFER_OK ? buffer_append(out, "\"", 1) : status;
}
