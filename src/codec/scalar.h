/*
 * Scalars and keys as JSON text.
 *
 * All are called with OUTPUT_ROOM bytes free at the place. A long one leaves as many behind; a short one takes at most
 * SCALAR_SHORT, so that there is room for a key and a value. What they are given need only be borrowed: none runs code
 * of others, but for an int that is too long for CPython's limit of digits, and there the stack is pinned.
 *
 * Internal to the encoder. What every value goes through is inline: a call for each costs a tenth of the time.
 */
#ifndef ASYA_CODEC_SCALAR_H
#define ASYA_CODEC_SCALAR_H

#include "codec/encoder.h"
#include "codec/keytext.h"
#include "codec/layout.h"
#include "json/dtoa.h"
#include "json/escape.h"
#include "json/itoa.h"

enum {
    SCALAR_SHORT = 64,      /* bytes a short one may take, or scribble over */
    SCALAR_SHORT_TEXT = 46, /* characters of a text that need not ask for more */
};

_Static_assert((int)SCALAR_SHORT >= (int)DTOA_SIZE && (int)SCALAR_SHORT >= (int)ITOA_SIZE, "a number");
_Static_assert((int)SCALAR_SHORT >= (int)KEYTEXT_SIZE, "a key");
_Static_assert((int)SCALAR_SHORT >= SCALAR_SHORT_TEXT + BLOCK_SIZE + 2, "a text in quotes");
_Static_assert((int)OUTPUT_ROOM >= 4 * SCALAR_SHORT, "a key, a value, punctuation, and some brackets");

/* A str of any length and class; `kind` may be TEXT_UNKNOWN. */
__attribute__((noinline)) unsigned char *scalar_text(struct encoder *e, unsigned char *at, PyObject *text,
                                                     enum text_kind kind);

/* ASCII characters of a str, of any number. */
__attribute__((noinline)) unsigned char *scalar_long_ascii(struct encoder *e, unsigned char *at,
                                                           const unsigned char *text, size_t size);

/* An int beyond 64 bits. */
unsigned char *scalar_long_integer(struct encoder *e, unsigned char *at, PyObject *number);

/* bytes, bytearray or memoryview as base64. NULL with a Python exception if it does not lie in one piece. */
unsigned char *scalar_bytes(struct encoder *e, unsigned char *at, PyObject *object);

/* A key and its colon. NULL without an error, and `e->odd_key` set, where code has to run to write it: known_key() does
 * once the dict is a copy. */
__attribute__((noinline)) unsigned char *scalar_any_key(struct encoder *e, unsigned char *at, PyObject *key);

/* An exact str. */
static inline unsigned char *scalar_exact_text(struct encoder *e, unsigned char *at, PyObject *text)
{
    enum text_kind kind = layout_text_kind(text);
    if (__builtin_expect(kind != TEXT_ASCII, 0)) {
        return scalar_text(e, at, text, kind);
    }
    const unsigned char *data = layout_text_data(text, TEXT_ASCII);
    size_t size = layout_text_length(text);
    if (__builtin_expect(size > SCALAR_SHORT_TEXT || escape_copy_plain(at + 1, data, size) < size, 0)) {
        return scalar_long_ascii(e, at, data, size);
    }
    *at = '"';
    at[size + 1] = '"';
    return at + size + 2;
}

/* An int or an instance of a subclass; NULL without an error if it has more than 64 bits. */
static inline unsigned char *scalar_short_integer(unsigned char *at, PyObject *number)
{
    int64_t value;
    if (__builtin_expect(layout_small_int(number, &value), 1)) {
        return itoa_i64(at, value);
    }
    int overflow;
    value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return overflow == 0 ? itoa_i64(at, value) : NULL;
}

/* The same of any length. */
static inline unsigned char *scalar_integer(struct encoder *e, unsigned char *at, PyObject *number)
{
    unsigned char *next = scalar_short_integer(at, number);
    return __builtin_expect(next != NULL, 1) ? next : scalar_long_integer(e, at, number);
}

/* A float or an instance of a subclass. */
static inline unsigned char *scalar_float(struct encoder *e, unsigned char *at, PyObject *number)
{
    double value = layout_float(number);
    return __builtin_expect(__builtin_isfinite(value), 1) ? dtoa(at, value) : encoder_fail_number(e, value);
}

/* True, False or None; NULL without an error for anything else. Which of the first two it is nobody can guess, so there
 * is no branch on that. */
static inline unsigned char *scalar_constant(unsigned char *at, PyObject *object)
{
    if (object == Py_None) {
        memcpy(at, "null", 4);
        return at + 4;
    }
    bool is_false = object == Py_False;
    if (__builtin_expect(!(is_false | (object == Py_True)), 0)) {
        return NULL;
    }
    static const char texts[2][8] = {"true", "false"};
    memcpy(at, texts[is_false], sizeof texts[is_false]);
    return at + 4 + is_false;
}

/* A key and its colon. */
static inline unsigned char *scalar_key(struct encoder *e, unsigned char *at, PyObject *key)
{
    unsigned char *next = keytext_write(at, keytext_place(key), key);
    return __builtin_expect(next != NULL, 1) ? next : scalar_any_key(e, at, key);
}

enum scalar_outcome { SCALAR_WRITTEN, SCALAR_FAILED, SCALAR_NONE };

/* `object` if it is a scalar of an exact type, and no int of more than 64 bits. On SCALAR_NONE nothing has changed. */
static inline __attribute__((always_inline)) enum scalar_outcome scalar_write(struct encoder *e, unsigned char **at,
                                                                              PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    unsigned char *next;
    if (type == &PyUnicode_Type) {
        next = scalar_exact_text(e, *at, object);
    } else if (type == &PyFloat_Type) {
        next = scalar_float(e, *at, object);
    } else {
        next = type == &PyLong_Type ? scalar_short_integer(*at, object) : scalar_constant(*at, object);
        if (__builtin_expect(next == NULL, 0)) {
            return SCALAR_NONE;
        }
    }
    *at = next;
    return __builtin_expect(next != NULL, 1) ? SCALAR_WRITTEN : SCALAR_FAILED;
}

#endif
