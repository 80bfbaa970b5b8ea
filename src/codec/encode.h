/*
 * Python objects to JSON text, in one pass, into a growing buffer.
 *
 * Written: str, int, float, bool, None, dict, list, tuple and their subclasses, as with `json`: a named tuple is a
 * list, an IntEnum its number, a dict subclass goes through its items(), a list with an __iter__ of its own through
 * that. Then, told apart in codec/types.c: dataclasses and attrs classes (an object of their fields), Enum (its value),
 * datetime/date/time (isoformat()), UUID, Decimal and paths (their text: a Decimal is a string, as with pydantic, since
 * a number would lose digits on the way), bytes, bytearray and memoryview (base64), sets (a list), numpy arrays and
 * scalars and array.array (numbers, from their memory). What Python tells better (python/glue/results.py): pydantic
 * models and msgspec Structs (as they write JSON themselves), mappings, durations, addresses, dates of numpy and
 * pandas, tensors, and what else has tolist().
 *
 * NaN, Infinity, circular references, more than 1000 levels and keys that are neither JSON's nor stand for such a key
 * are errors whose text names the path to the culprit ("result.items[3].score"). Text is UTF-8; lone surrogates are
 * written as escapes. The output is always valid JSON. A dict that changes meanwhile is written as it was.
 *
 * Needs the GIL. Leaves a Python exception set only where the code of an object raised one, which is why it failed.
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
