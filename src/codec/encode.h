/*
 * Python objects to JSON text, in one pass, into a growing buffer.
 *
 * Written: str, int, float, bool, None, dict, list, tuple and their subclasses; then, told apart in codec/convert.c,
 * dataclasses, pydantic models, msgspec structs, Enum (its value), datetime/date/time (ISO 8601), UUID, Decimal and
 * Path (their text), bytes (base64), sets (a list), and whatever has tolist(), as numpy and array.array do. A named
 * tuple is a list, a dict subclass goes through its items(), as with `json`.
 *
 * NaN, Infinity, circular references, more than 1000 levels and keys that are not str, int, float, bool or None are
 * errors whose text names the path to the culprit ("result.items[3].score"). Text is UTF-8; lone surrogates are written
 * as escapes. The output is always valid JSON.
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

#endif
