#include "wire/reply.h"

#include "base/text.h"
#include "json/writer.h"

#define SUCCESS_BEGIN "{\"status\":\"ok\",\"result\":"

enum buffer_status reply_success_begin(struct buffer *out)
{
    return buffer_append(out, SUCCESS_BEGIN, sizeof SUCCESS_BEGIN - 1);
}

enum buffer_status reply_success_end(struct buffer *out) { return buffer_append(out, "}", 1); }

static enum buffer_status append(struct buffer *out, const char *text)
{
    return buffer_append(out, text, strlen(text));
}

enum buffer_status reply_error(struct buffer *out, enum error_category category, struct view text, struct view type)
{
    out->size = 0;
    text.size = text_cut(text.data, text.size, REPLY_TEXT_MAX);
    enum buffer_status status = append(out, "{\"error\":\"");
    if (status == BUFFER_OK) {
        status = append(out, error_code(category));
    }
    if (status == BUFFER_OK) {
        status = append(out, "\",\"message\":");
    }
    if (status == BUFFER_OK) {
        status = writer_string(out, text);
    }
    if (status == BUFFER_OK && category == ERR_PROCESSING) {
        status = append(out, ",\"type\":");
        if (status == BUFFER_OK) {
            status = writer_string(out, type);
        }
    }
    return status == BUFFER_OK ? append(out, "}") : status;
}

struct view reply_out_of_memory(void)
{
    return view_of("{\"error\":\"out_of_memory\",\"message\":\"no memory left to answer this message\"}");
}
