#include "codec/keytext.h"

struct keytext keytexts[1 << KEYTEXT_BITS];

void keytext_note(struct keytext *place, PyObject *key, const unsigned char *text, size_t size)
{
    if (place->candidate != key) {
        place->candidate = key;
        return;
    }
    PyObject *former = place->key;
    Py_INCREF(key);
    place->key = key;
    place->size = (uint32_t)size;
    memcpy(place->text, text, sizeof place->text);
    Py_XDECREF(former); /* a str: runs no code */
}
