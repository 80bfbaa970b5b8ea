/*
 * str objects from JSON strings, straight into their own memory where the interpreter's layout is known.
 *
 * PyUnicode_New is exported by every CPython but the place of a string's characters is private: it is measured on
 * probe strings at start, and where the probe fails everything goes through functions of the stable ABI.
 *
 * All need the GIL and return a new reference, or NULL with MemoryError set.
 */
#ifndef ASYA_CODEC_STR_H
#define ASYA_CODEC_STR_H

#include "codec/pyabi.h"
#include "json/string.h"

/* Measures the layout. Never fails: without a layout the slow ways are taken. Called once, before the others. */
void str_init(void);

/* The str of `size` ASCII bytes. */
PyObject *str_ascii(const unsigned char *at, size_t size);

/* The str of a JSON string that string_measure found good; `at` is its first byte. */
PyObject *str_json(const unsigned char *at, const struct string_shape *shape);

#endif
