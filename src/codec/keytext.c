#include "codec/keytext.h"

struct keytext keytexts[1 << KEYTEXT_BITS];

void keytext_note(struct keytext *place, PyObject *key, const unsigned char *text, size_t size)
{
    struct keytext *neighbour = keytext_neighbour(place);
    struct keytext *first = place < neighbour ? place : neighbour; /* has the later candidate of both */
    if (first[0].candidate != key && first[1].candidate != key) {
        first[1].candidate = first[0].candidate;
        first[0].candidate = key;
        return;
    }
    if (place->key != NULL && neighbour->key == NULL) {
        place = neighbour;
    }
    PyObject *former = place->key;
    Py_INCREF(key);
    place->key = key;
    place->size = (uint32_t)size;
    memcpy(place->text, text, sizeof place->text);
    Py_XDECREF(former); /* a str: runs no code */
}
