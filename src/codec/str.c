#include "codec/str.h"

#include "base/view.h"

#include <stdlib.h>

/* Bytes from a str object to its characters, for pure ASCII and for wider ones; 0: not known. */
static size_t ascii_offset, wide_offset;

static inline unsigned char *str_characters(PyObject *text, size_t offset) { return (unsigned char *)text + offset; }

static PyObject *str_ascii_without_layout(const unsigned char *at, size_t size)
{
    return PyUnicode_FromStringAndSize((const char *)at, (Py_ssize_t)size);
}

PyObject *str_ascii(const unsigned char *at, size_t size)
{
    if (size <= 1 || ascii_offset == 0) { /* the interpreter keeps one object for each string of a single character */
        return str_ascii_without_layout(at, size);
    }
    PyObject *text = PyUnicode_New((Py_ssize_t)size, 0x7F);
    if (text != NULL) {
        memcpy(str_characters(text, ascii_offset), at, size);
    }
    return text;
}

static void str_write_characters(const unsigned char *at, const struct string_shape *shape, unsigned char *out)
{
    if (shape->widest <= 0xFF) {
        string_write_1(at, shape, out);
    } else if (shape->widest <= 0xFFFF) {
        string_write_2(at, shape, (uint16_t *)(void *)out);
    } else {
        string_write_4(at, shape, (uint32_t *)(void *)out);
    }
}

/* PyUnicode_FromWideChar looks for surrogate pairs only where wchar_t has two bytes. */
static PyObject *str_json_without_layout(const unsigned char *at, const struct string_shape *shape)
{
    _Static_assert(sizeof(wchar_t) == sizeof(uint32_t), "a wide character holds any code point");
    uint32_t *wide;
    size_t bytes;
    if (__builtin_mul_overflow(shape->length, sizeof *wide, &bytes) || (wide = malloc(bytes + 1)) == NULL) {
        return PyErr_NoMemory();
    }
    string_write_4(at, shape, wide);
    PyObject *text = PyUnicode_FromWideChar((const wchar_t *)(const void *)wide, (Py_ssize_t)shape->length);
    free(wide);
    return text;
}

PyObject *str_json(const unsigned char *at, const struct string_shape *shape)
{
    if (shape->widest == 0x7F && !shape->escaped) {
        return str_ascii(at, shape->length);
    }
    if (ascii_offset == 0 || wide_offset == 0 || shape->length <= 1) {
        return str_json_without_layout(at, shape);
    }
    PyObject *text = PyUnicode_New((Py_ssize_t)shape->length, shape->widest);
    if (text != NULL) {
        str_write_characters(at, shape, str_characters(text, shape->widest == 0x7F ? ascii_offset : wide_offset));
    }
    return text;
}

/* Writes into a fresh string at `offset` what `bytes` holds, and compares it with `expected`. */
static bool str_writes(PyObject *expected, Py_ssize_t length, Py_UCS4 widest, size_t offset, const void *bytes,
                       size_t size)
{
    PyObject *text = PyUnicode_New(length, widest);
    if (text == NULL) {
        return false;
    }
    memcpy(str_characters(text, offset), bytes, size);
    bool same = PyUnicode_Compare(text, expected) == 0;
    Py_DECREF(text);
    return same;
}

/* The offset at which a string of these characters keeps them, or 0. `width` is the size of one. */
static size_t str_probe(const char *utf8, const void *bytes, size_t length, size_t width, Py_UCS4 widest)
{
    size_t offset = 0;
    PyObject *text = PyUnicode_FromString(utf8);
    PyObject *result = text != NULL ? PyObject_CallMethod(text, "__sizeof__", NULL) : NULL;
    if (result != NULL) {
        size_t object_size = PyLong_AsSize_t(result), tail = (length + 1) * width;
        offset = object_size > tail && object_size < tail + 256 ? object_size - tail : 0;
    }
    /* The characters end where the object ends, so a wrong offset would still hit nothing but the object itself. */
    if (offset != 0 && !(memcmp(str_characters(text, offset), bytes, length * width) == 0 &&
                         str_writes(text, (Py_ssize_t)length, widest, offset, bytes, length * width))) {
        offset = 0;
    }
    Py_XDECREF(result);
    Py_XDECREF(text);
    PyErr_Clear();
    return offset;
}

void str_init(void)
{
    static const uint16_t two[] = {'p', 0x20AC, 'o', 0x0416, 'b', 'e', 0x4E2D};
    static const uint32_t four[] = {'p', 0x1F600, 'o', 0x20AC};
    ascii_offset = str_probe("probe of 21 letters..", "probe of 21 letters..", 21, 1, 0x7F);
    wide_offset = str_probe("pr\xC3\xB6"
                            "be",
                            "pr\xF6"
                            "be",
                            5, 1, 0xFF);
    if (wide_offset != str_probe("p\xE2\x82\xAC"
                                 "o\xD0\x96"
                                 "be\xE4\xB8\xAD",
                                 two, 7, 2, 0xFFFF) ||
        wide_offset != str_probe("p\xF0\x9F\x98\x80"
                                 "o\xE2\x82\xAC",
                                 four, 4, 4, 0x10FFFF)) {
        wide_offset = 0;
    }
}
