/*
 * Scalars and keys as JSON text.
 *
 * All are called with OUTPUT_ROOM bytes free at the place, and leave as many free behind, but for the punctuation that
 * goes around a value. None runs code of others but for an int too long for 64 bits, where CPython's limit of digits
 * holds: so what they are given need only be borrowed.
 *
 * Internal to the encoder. What every value goes through is inline: a call for each costs a tenth of the time.
 */
#ifndef ASYA_CODEC_SCALAR_H
#define ASYA_CODEC_SCALAR_H

#include "codec/encoder.h"
#include "codec/layout.h"
#include "json/dtoa.h"
#include "json/escape.h"
#include "json/itoa.h"

enum { SCALAR_PORTION = 1024 }; /* characters for which the worst case of escaping is reserved at once */

_Static_assert((int)ESCAPE_ROOM(SCALAR_PORTION) + (int)OUTPUT_ROOM <= (int)OUTPUT_SLACK, "as the output allows");
_Static_assert((int)OUTPUT_ROOM >= (int)DTOA_SIZE + 4 && (int)DTOA_SIZE >= (int)ITOA_SIZE, "a number and punctuation");

/* A str of any length and class; `kind` may be TEXT_UNKNOWN. */
unsigned char *scalar_text(struct encoder *e, unsigned char *at, PyObject *text, enum text_kind kind);

/* An int beyond 64 bits. */
unsigned char *scalar_long_integer(struct encoder *e, unsigned char *at, PyObject *number);

/* bytes, bytearray or memoryview as base64. NULL with a Python exception if it does not lie in one piece. */
unsigned char *scalar_bytes(struct encoder *e, unsigned char *at, PyObject *object);

/* A key that is no exact str, in quotes. */
unsigned char *scalar_other_key(struct encoder *e, unsigned char *at, PyObject *key);

/* An exact str. */
static inline unsigned char *scalar_exact_text(struct encoder *e, unsigned char *at, PyObject *text)
{
    enum text_kind kind = layout_text_kind(text);
    size_t size = layout_text_length(text); /* means nothing where the kind is unknown */
    if (__builtin_expect(kind != TEXT_ASCII || size > SCALAR_PORTION, 0)) {
        return scalar_text(e, at, text, kind);
    }
    at = encoder_reserve(e, at, ESCAPE_ROOM(size) + OUTPUT_ROOM);
    if (__builtin_expect(at == NULL, 0)) {
        return NULL;
    }
    *at++ = '"';
    at = escape_ascii(at, layout_text_data(text, TEXT_ASCII), size);
    *at++ = '"';
    return at;
}

/* An int or an instance of a subclass. */
static inline unsigned char *scalar_integer(struct encoder *e, unsigned char *at, PyObject *number)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return __builtin_expect(overflow == 0, 1) ? itoa_i64(at, value) : scalar_long_integer(e, at, number);
}

/* A float or an instance of a subclass. */
static inline unsigned char *scalar_float(struct encoder *e, unsigned char *at, PyObject *number)
{
    double value = layout_float(number);
    return __builtin_expect(__builtin_isfinite(value), 1) ? dtoa(at, value) : fail_number(e, value);
}

/* True, False or None; NULL without an error for anything else. */
static inline unsigned char *scalar_constant(unsigned char *at, PyObject *object)
{
    if (object == Py_True) {
        memcpy(at, "true", 4);
        return at + 4;
    }
    if (object == Py_False) {
        memcpy(at, "false", 5);
        return at + 5;
    }
    if (object == Py_None) {
        memcpy(at, "null", 4);
        return at + 4;
    }
    return NULL;
}

/* A key and its colon. */
static inline unsigned char *scalar_key(struct encoder *e, unsigned char *at, PyObject *key)
{
    at = __builtin_expect(Py_TYPE(key) == &PyUnicode_Type, 1) ? scalar_exact_text(e, at, key)
                                                              : scalar_other_key(e, at, key);
    if (__builtin_expect(at != NULL, 1)) {
        *at++ = ':';
    }
    return at;
}

enum scalar_outcome { SCALAR_WRITTEN, SCALAR_FAILED, SCALAR_NONE };

/* `object` if it is a scalar of an exact type. On SCALAR_NONE nothing has changed. */
static inline __attribute__((always_inline)) enum scalar_outcome scalar_write(struct encoder *e, unsigned char **at,
                                                                              PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    unsigned char *next;
    if (type == &PyUnicode_Type) {
        next = scalar_exact_text(e, *at, object);
    } else if (type == &PyFloat_Type) {
        next = scalar_float(e, *at, object);
    } else if (type == &PyLong_Type) {
        next = scalar_integer(e, *at, object);
    } else if ((next = scalar_constant(*at, object)) == NULL) {
        return SCALAR_NONE;
    }
    *at = next;
    return __builtin_expect(next != NULL, 1) ? SCALAR_WRITTEN : SCALAR_FAILED;
}

#endif
