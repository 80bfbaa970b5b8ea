#include "codec/scalar.h"

#include "codec/frames.h"
#include "json/base64.h"

enum { TEXT_PORTION = 1024 }; /* characters for which the worst case of escaping is reserved at once */

_Static_assert((int)ESCAPE_ROOM(TEXT_PORTION) + 1 + (int)OUTPUT_ROOM <= (int)OUTPUT_SLACK, "as the output allows");

unsigned char *scalar_long_ascii(struct encoder *e, unsigned char *at, const unsigned char *text, size_t size)
{
    at = encoder_reserve(e, at, size);
    if (at == NULL) {
        return NULL;
    }
    *at++ = '"';
    size_t done = escape_copy_plain(at, text, size);
    at += done;
    while (__builtin_expect(done < size, 0)) {
        size_t portion = size - done < TEXT_PORTION ? size - done : TEXT_PORTION;
        at = encoder_reserve(e, at, ESCAPE_ROOM(portion) + 1);
        if (at == NULL) {
            return NULL;
        }
        at = escape_ascii(at, text + done, portion);
        done += portion;
    }
    *at++ = '"';
    return at;
}

static unsigned char *scalar_escape_part(unsigned char *at, enum text_kind kind, const void *data, size_t first,
                                         size_t size)
{
    switch (kind) {
    case TEXT_LATIN1:
        return escape_latin1(at, (const uint8_t *)data + first, size);
    case TEXT_UCS2:
        return escape_ucs2(at, (const uint16_t *)data + first, size);
    default:
        return escape_ucs4(at, (const uint32_t *)data + first, size);
    }
}

/* Characters of a known kind that is not ASCII. In portions: the worst case of a whole long text would ask for six
 * times its size. */
static unsigned char *scalar_write_characters(struct encoder *e, unsigned char *at, enum text_kind kind,
                                              const void *data, size_t size)
{
    at = encoder_reserve(e, at, size);
    if (at == NULL) {
        return NULL;
    }
    *at++ = '"';
    for (size_t done = 0; done < size;) {
        size_t portion = size - done < TEXT_PORTION ? size - done : TEXT_PORTION;
        at = encoder_reserve(e, at, ESCAPE_ROOM(portion) + 1);
        if (at == NULL) {
            return NULL;
        }
        at = scalar_escape_part(at, kind, data, done, portion);
        done += portion;
    }
    *at++ = '"';
    return at;
}

/* A str of a subclass or of an unknown layout. (PyUnicode_AsUTF8AndSize would leave a copy inside the str, and raise an
 * exception for a lone surrogate.) */
static unsigned char *scalar_write_copied(struct encoder *e, unsigned char *at, PyObject *text)
{
    Py_UCS4 *characters = PyUnicode_AsUCS4Copy(text);
    Py_ssize_t length = PyUnicode_GetLength(text);
    if (characters == NULL || length < 0) {
        PyMem_Free(characters);
        return encoder_fail_raised(e);
    }
    at = scalar_write_characters(e, at, TEXT_UCS4, characters, (size_t)length);
    PyMem_Free(characters);
    return at;
}

unsigned char *scalar_text(struct encoder *e, unsigned char *at, PyObject *text, enum text_kind kind)
{
    if (kind == TEXT_ASCII) {
        return scalar_long_ascii(e, at, layout_text_data(text, kind), layout_text_length(text));
    }
    if (kind == TEXT_LATIN1 || kind == TEXT_UCS2 || kind == TEXT_UCS4) {
        return scalar_write_characters(e, at, kind, layout_text_data(text, kind), layout_text_length(text));
    }
    return scalar_write_copied(e, at, text);
}

unsigned char *scalar_long_integer(struct encoder *e, unsigned char *at, PyObject *number)
{
    frames_pin(e->work); /* an exception for a number that is too long can make the collector run, and that anything */
    Py_INCREF(number);
    PyObject *text = PyNumber_ToBase(number, 10);
    Py_DECREF(number);
    Py_ssize_t size;
    const char *digits = text != NULL ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    if (digits == NULL) {
        encoder_fail_raised(e);
        Py_XDECREF(text);
        return NULL;
    }
    at = encoder_reserve(e, at, (size_t)size);
    if (at != NULL) {
        memcpy(at, digits, (size_t)size);
        at += size;
    }
    Py_DECREF(text);
    return at;
}

unsigned char *scalar_bytes(struct encoder *e, unsigned char *at, PyObject *object)
{
    Py_buffer view;
    size_t size;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (!base64_size((size_t)view.len, &size) || size > PY_SSIZE_T_MAX) {
        PyBuffer_Release(&view);
        return encoder_fail_memory(e);
    }
    at = encoder_reserve(e, at, size + 2);
    if (at != NULL) {
        *at++ = '"';
        at = base64_write(at, view.buf, (size_t)view.len);
        *at++ = '"';
    }
    PyBuffer_Release(&view);
    return at;
}

/* A key that is no exact str, in quotes. */
static unsigned char *scalar_write_other_key(struct encoder *e, unsigned char *at, PyObject *key)
{
    if (PyUnicode_Check(key)) {
        return scalar_text(e, at, key, TEXT_UNKNOWN);
    }
    *at++ = '"';
    unsigned char *next = scalar_constant(at, key);
    if (next == NULL) {
        if (!PyLong_Check(key) && !PyFloat_Check(key)) {
            e->odd_key = at - 1;
            return NULL;
        }
        next = PyLong_Check(key) ? scalar_integer(e, at, key) : scalar_float(e, at, key);
    }
    if (next != NULL) {
        *next++ = '"';
    }
    return next;
}

unsigned char *scalar_any_key(struct encoder *e, unsigned char *at, PyObject *key)
{
    struct keytext *place = keytext_place(key);
    unsigned char *next = keytext_write(at, keytext_neighbour(place), key);
    if (next != NULL) {
        return next;
    }
    bool is_exact = Py_TYPE(key) == &PyUnicode_Type;
    if (is_exact && layout_text_kind(key) == TEXT_ASCII) {
        size_t size = layout_text_length(key);
        if (size <= KEYTEXT_SIZE - 3 && escape_copy_plain(at + 1, layout_text_data(key, TEXT_ASCII), size) == size) {
            at[0] = '"';
            memcpy(at + 1 + size, "\":", 2);
            keytext_note(place, key, at, size + 3);
            return at + size + 3;
        }
    }
    at = is_exact ? scalar_exact_text(e, at, key) : scalar_write_other_key(e, at, key);
    if (at != NULL) {
        *at++ = ':';
    }
    return at;
}
