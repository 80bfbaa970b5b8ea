#include "codec/encode.h"
bool encode(PyObject *object, const char *root, struct buffer *out, struct error *err)
{
    (void)object;
    (void)root;
    (void)out;
    return error_set(err, ERR_SERVER, 0, "not written yet");
}
bool encode_init(void) { return true; }
