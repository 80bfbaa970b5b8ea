/*
 * The JSON text of keys that are written again and again, by the identity of the key: a copy of 32 bytes instead of
 * looking at every character (a tenth of the time of writing records).
 *
 * A table of fixed size, one place for each address hash, where the newer key displaces the older. Two places are
 * neighbours, and a key may lie in either: of twenty keys of an object two share a place in every second process, and
 * without a neighbour neither would ever be kept (4 % of a request of 9 KB for one key of five). A key is kept, and
 * kept alive, from the second time on that at most one other came to its places in between; so keys that never come
 * again, as those of a large index, only leave their address behind.
 *
 * Needs the GIL. One per process; lives as long as it.
 */
#ifndef ASYA_CODEC_KEYTEXT_H
#define ASYA_CODEC_KEYTEXT_H

#include "codec/pyabi.h"

#include <stdint.h>
#include <string.h>

enum {
    KEYTEXT_BITS = 8,
    KEYTEXT_SIZE = 32, /* bytes of a text with its quotes and colon, and of what keytext_write scribbles over */
};

struct keytext {
    PyObject *key;             /* owned; NULL in an empty place */
    const PyObject *candidate; /* a key that came lately and is not kept; never followed */
    uint32_t size;
    unsigned char text[KEYTEXT_SIZE];
};

extern struct keytext keytexts[1 << KEYTEXT_BITS];

static inline struct keytext *keytext_place(const PyObject *key)
{
    return &keytexts[(uint64_t)(uintptr_t)key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - KEYTEXT_BITS)];
}

/* The other one where a key of this place may lie. */
static inline struct keytext *keytext_neighbour(const struct keytext *place)
{
    return &keytexts[(place - keytexts) ^ 1];
}

/* Writes the text of a key, where KEYTEXT_SIZE bytes must be free; NULL if it is not that of the place. */
static inline unsigned char *keytext_write(unsigned char *at, const struct keytext *place, const PyObject *key)
{
    if (__builtin_expect(place->key != key, 0)) {
        return NULL;
    }
    memcpy(at, place->text, sizeof place->text);
    return at + place->size;
}

/* Notes that `key`, an exact str of this place that neither it nor its neighbour has, was written as the `size` bytes
 * at `text`, at most KEYTEXT_SIZE, where as many can be read. */
void keytext_note(struct keytext *place, PyObject *key, const unsigned char *text, size_t size);

#endif
