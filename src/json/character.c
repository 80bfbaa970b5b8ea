#include "json/character.h"

/* clang-format off */
const struct character_escape character_escapes[CHARACTER_ESCAPED_LAST + 1] = {
    {"\\u0000", 6}, {"\\u0001", 6}, {"\\u0002", 6}, {"\\u0003", 6},
    {"\\u0004", 6}, {"\\u0005", 6}, {"\\u0006", 6}, {"\\u0007", 6},
    {"\\b", 2}, {"\\t", 2}, {"\\n", 2}, {"\\u000b", 6},
    {"\\f", 2}, {"\\r", 2}, {"\\u000e", 6}, {"\\u000f", 6},
    {"\\u0010", 6}, {"\\u0011", 6}, {"\\u0012", 6}, {"\\u0013", 6},
    {"\\u0014", 6}, {"\\u0015", 6}, {"\\u0016", 6}, {"\\u0017", 6},
    {"\\u0018", 6}, {"\\u0019", 6}, {"\\u001a", 6}, {"\\u001b", 6},
    {"\\u001c", 6}, {"\\u001d", 6}, {"\\u001e", 6}, {"\\u001f", 6},
    ['"'] = {"\\\"", 2}, ['\\'] = {"\\\\", 2},
};
/* clang-format on */

unsigned char *character_put_surrogate(unsigned char *out, unsigned c)
{
    static const char hex[] = "0123456789abcdef";
    memcpy(out, "\\ud", 3);
    out[3] = (unsigned char)hex[c >> 8 & 15];
    out[4] = (unsigned char)hex[c >> 4 & 15];
    out[5] = (unsigned char)hex[c & 15];
    return out + 6;
}
