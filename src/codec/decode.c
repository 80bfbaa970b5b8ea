#include "codec/decode.h"
PyObject *decode(const unsigned char *text, size_t size, struct error *err)
{
    (void)text;
    (void)size;
    error_set(err, ERR_SERVER, 0, "not written yet");
    return NULL;
}
bool decode_init(void) { return true; }
