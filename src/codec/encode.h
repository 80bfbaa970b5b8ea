/*
 * Python objects to JSON text, in one pass, into a growing buffer.
 *
 * Rules (design section 5): str, int, float, bool, None, dict, list, tuple and their subclasses, then pydantic
 * models, dataclasses, named tuples, Enum, datetime/date/time, UUID, Decimal, Path, bytes (base64), sets, numpy
 * scalars and arrays (through the buffer protocol). NaN, Infinity, circular references, more than 1000 levels and
 * keys that are not str, int, float, bool or None are errors whose text names the path to the culprit
 * ("result.items[3].score"). Lone surrogates are written as escapes. The output is always valid JSON and UTF-8.
 *
 * Needs the GIL. Leaves no Python exception set.
 */
#ifndef ASYA_CODEC_ENCODE_H
#define ASYA_CODEC_ENCODE_H

#include "base/buffer.h"
#include "base/error.h"

#include <Python.h>

/* Appends the JSON text of `object` (borrowed) to `out`, whose limit bounds the memory. `root` is the name the path in
 * an error text starts with ("result"). Returns false with `err` filled and `out` cut back to its former size:
 * ERR_PROCESSING (type is the class of the failure: TypeError, ValueError, or that of an exception raised by the
 * object's own code), ERR_MEMORY. */
bool encode(PyObject *object, const char *root, struct buffer *out, struct error *err);

/* Prepares what encode keeps between calls. Called once per process with the GIL; false with a Python exception set. */
bool encode_init(void);

#endif
