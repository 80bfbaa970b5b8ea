/*
 * Objects of classes json does not know: what the encoder writes for each kind of codec/types.h.
 *
 * Internal to the encoder.
 */
#ifndef ASYA_CODEC_KNOWN_H
#define ASYA_CODEC_KNOWN_H

#include "codec/encoder.h"

/* Writes a key that scalar_key() has left (`e->odd_key`, which is reset), with its colon: an Enum's value, the text of
 * a UUID, a date and the like, numpy's numbers as Python's. The stack must be pinned, and holds `key`. Runs code of it.
 */
unsigned char *known_key(struct encoder *e, PyObject *key);

/* The stack must be pinned. Writes `object` (borrowed; held by the caller), or opens it as a container, or returns NULL
 * with the new reference `*ret_stand_in` (else NULL), which is to be written in its place. OUTPUT_ROOM bytes are free
 * at the place, but for a key. Runs code of the object. */
unsigned char *known_write(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in);

#endif
