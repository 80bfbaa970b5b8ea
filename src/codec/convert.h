/*
 * Objects `json` does not know, as objects it does: the slow path of the encoder.
 *
 * Classes are recognised by what they have, or, where that is ambiguous, looked up in modules that are loaded already:
 * nothing is imported for them but binascii.
 *
 * Needs the GIL.
 */
#ifndef ASYA_CODEC_CONVERT_H
#define ASYA_CODEC_CONVERT_H

#include <Python.h>

/* A new reference to what stands for `object` (a str, list, dict, number ...), or NULL with an exception: TypeError
 * where nothing does, or whatever the object's own code raised. */
PyObject *convert(PyObject *object);

#endif
