/*
 * Objects of classes json does not know: what the encoder writes for each kind of codec/types.h.
 *
 * Internal to the encoder.
 */
#ifndef ASYA_CODEC_KNOWN_H
#define ASYA_CODEC_KNOWN_H

#include "codec/encoder.h"

/* The stack must be pinned. Writes `object` (borrowed; held by the caller), or opens it as a container, or returns NULL
 * with the new reference `*ret_stand_in` (else NULL), which is to be written in its place. OUTPUT_ROOM bytes are free
 * at the place, but for a key. Runs code of the object. */
unsigned char *known_write(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in);

#endif
