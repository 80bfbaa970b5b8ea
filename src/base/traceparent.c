#include "base/traceparent.h"

#include <string.h>

static bool traceparent_is_hex(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        if (!is_digit && (text[i] < 'a' || text[i] > 'f')) {
            return false;
        }
    }
    return true;
}

/* An id: hexadecimal, and not zeros alone. */
static bool traceparent_is_id(const char *text, size_t size)
{
    static const char zeros[] = "00000000000000000000000000000000";
    return traceparent_is_hex(text, size) && memcmp(text, zeros, size) != 0;
}

bool traceparent_is_valid(struct view text)
{
    const char *data = text.data;
    if (text.size < TRACEPARENT_SIZE || data[2] != '-' || data[35] != '-' || data[52] != '-') {
        return false;
    }
    bool is_first = memcmp(data, "00", 2) == 0;
    bool fits = text.size == TRACEPARENT_SIZE || (!is_first && data[TRACEPARENT_SIZE] == '-');
    return fits && traceparent_is_hex(data, 2) && memcmp(data, "ff", 2) != 0 &&
           traceparent_is_id(data + TRACE_ID_AT, TRACE_ID_SIZE) && traceparent_is_id(data + SPAN_ID_AT, SPAN_ID_SIZE) &&
           traceparent_is_hex(data + 53, 2);
}
