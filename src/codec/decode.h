/*
 * JSON text to Python objects, in one pass, without a tree in between.
 *
 * Rules (docs/decisions/0004-how-json-is-read.md): exactly one RFC 8259 value with white space around it, strict
 * UTF-8, at most 1000 levels of nesting counted in C, no NaN or Infinity, integers exact (CPython's digit limit
 * stays in force), the last of duplicate keys wins and order is kept, escapes of lone surrogates are accepted.
 *
 * Needs the GIL. Leaves no Python exception set.
 */
#ifndef ASYA_CODEC_DECODE_H
#define ASYA_CODEC_DECODE_H

#include "base/error.h"

#include <Python.h>

/* Decodes `size` bytes at `text`, which need no NUL and are only read.
 * Returns a new reference, or NULL with `err` filled: ERR_EMPTY (nothing but white space), ERR_ENCODING (the text is
 * not strict UTF-8; takes precedence over ERR_JSON), ERR_JSON (text names what, offset the byte), ERR_MEMORY. */
PyObject *decode(const unsigned char *text, size_t size, struct error *err);

/* Prepares what decode keeps between calls (key cache, hash seed). Called once per process with the GIL; false with
 * a Python exception set on failure. */
bool decode_init(void);

#endif
