/*
 * The extension module `_asya_loader`: what the single file loads first, to undo what makes its image small. In Python
 * base 85 takes 1 ms longer, and code 8 ms. tools/bundle.py has the other direction.
 */
#include "codec/pyabi.h"

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { BASE = 85, GROUP = 5, FIRST = 33, LAST = 126 };

/* Which digit each character is, BASE for none. */
static void loader_make_values(unsigned char values[256])
{
    unsigned char count = 0;
    memset(values, BASE, 256);
    for (int c = FIRST; c <= LAST; c++) {
        if (memchr("\"'\\<>&{}$", c, 9) == NULL) {
            values[c] = count++;
        }
    }
}

/* Reads a text into `out` and returns where the next one is to go; NULL unless it is whole groups of digits. */
static unsigned char *loader_read(const char *text, Py_ssize_t size, const unsigned char values[256],
                                  unsigned char *out)
{
    uint64_t number = 0;
    int count = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        if (text[i] == '\n') {
            continue;
        }
        unsigned char value = values[(unsigned char)text[i]];
        number = number * BASE + value;
        if (value == BASE || number > UINT32_MAX) {
            return NULL;
        }
        if (++count == GROUP) {
            uint32_t group = __builtin_bswap32((uint32_t)number);
            memcpy(out, &group, sizeof group);
            out += sizeof group;
            number = 0;
            count = 0;
        }
    }
    return count == 0 ? out : NULL;
}

/* bytes(first: str, second: str) -> bytearray: four bytes of each five digits in base 85; newlines are skipped. */
static PyObject *loader_bytes(PyObject *self, PyObject *texts)
{
    (void)self;
    PyObject *first = PyTuple_GetItem(texts, 0);
    PyObject *second = first != NULL ? PyTuple_GetItem(texts, 1) : NULL;
    Py_ssize_t first_size;
    Py_ssize_t second_size;
    const char *begin = second != NULL ? PyUnicode_AsUTF8AndSize(first, &first_size) : NULL;
    const char *rest = begin != NULL ? PyUnicode_AsUTF8AndSize(second, &second_size) : NULL;
    PyObject *result =
        rest != NULL ? PyByteArray_FromStringAndSize(NULL, (first_size + second_size) / GROUP * 4) : NULL;
    if (result == NULL) {
        return NULL;
    }
    unsigned char values[256];
    loader_make_values(values);
    unsigned char *start = (unsigned char *)PyByteArray_AsString(result);
    unsigned char *out = loader_read(begin, first_size, values, start);
    out = out != NULL ? loader_read(rest, second_size, values, out) : NULL;
    if (out == NULL) {
        PyErr_SetString(PyExc_ValueError, "not base 85");
    }
    if (out == NULL || PyByteArray_Resize(result, out - start) < 0) {
        Py_DECREF(result);
        return NULL;
    }
    return result;
}

/* In an instruction, the address of a function or a constant is relative to the next one, so it differs at each place.
 * In the file it is relative to the begin of the code, and code that repeats itself makes the stream 5 to 8 % smaller.
 */
#if defined(__x86_64__)
enum { REACH = 1 << 20 }; /* no image has more */

/* How many bytes stand before the four of an address, 0 where there is none. What merely looks so is changed and
 * changed back as well. */
static size_t loader_opcode(const unsigned char *code)
{
    if ((code[0] & 0xfe) == 0xe8) { /* call, jmp */
        return 1;
    }
    if ((code[1] & 0xc7) != 5) {
        return 0;
    }
    bool is_known = code[0] == 0x8b || code[0] == 0x8d || code[0] == 0x89 || code[0] == 0xff; /* mov, lea, mov, call */
    return is_known ? 2 : 0;
}

static void loader_undo(unsigned char *code, size_t size, size_t place)
{
    (void)place;
    for (size_t at = 0; at + 6 <= size;) {
        size_t opcode = loader_opcode(code + at);
        if (opcode == 0) {
            at++;
            continue;
        }
        at += opcode;
        uint32_t word;
        memcpy(&word, code + at, sizeof word);
        int32_t value = (int32_t)__builtin_bswap32(word);
        int32_t next = (int32_t)at + 4;
        if (value >= 0 && value < REACH) {
            value -= next;
        } else if (value < 0 && value >= -next) {
            value += REACH;
        }
        memcpy(code + at, &value, sizeof value);
        at += 4;
    }
}
#else
static void loader_undo(unsigned char *code, size_t size, size_t place)
{
    for (size_t at = 0; at + 4 <= size; at += 4) {
        uint32_t word;
        memcpy(&word, code + at, sizeof word);
        if (word >> 26 == 0x25) { /* bl */
            word = 0x94000000 | ((word - (uint32_t)(at / 4)) & 0x03ffffff);
        } else if ((word & 0x9f000000) == 0x90000000) { /* adrp: a number of pages, its two lowest bits apart */
            uint32_t pages = ((word >> 29 & 3) | (word >> 3 & 0x1ffffc)) - (uint32_t)((place + at) >> 12);
            word = (word & 0x9f00001f) | (pages & 3) << 29 | (pages & 0x1ffffc) << 3;
        }
        memcpy(code + at, &word, sizeof word);
    }
}
#endif

/* relocate(image: bytearray, begin: int, end: int, place: int): makes addresses between relative to where they stand.
 * The code will be loaded `place` bytes behind the begin of a page. */
static PyObject *loader_relocate(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *image = PyTuple_GetItem(arguments, 0);
    PyObject *from = image != NULL ? PyTuple_GetItem(arguments, 1) : NULL;
    PyObject *to = from != NULL ? PyTuple_GetItem(arguments, 2) : NULL;
    PyObject *behind = to != NULL ? PyTuple_GetItem(arguments, 3) : NULL;
    if (behind == NULL) {
        return NULL;
    }
    size_t begin = PyLong_AsSize_t(from);
    size_t end = PyLong_AsSize_t(to);
    size_t place = PyLong_AsSize_t(behind);
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    if (!PyObject_TypeCheck(image, &PyByteArray_Type) || begin > end || end > (size_t)PyByteArray_Size(image)) {
        PyErr_SetString(PyExc_ValueError, "no such code");
        return NULL;
    }
    loader_undo((unsigned char *)PyByteArray_AsString(image) + begin, end - begin, place);
    Py_RETURN_NONE;
}

static PyMethodDef loader_methods[] = {
    {"bytes", loader_bytes, METH_VARARGS, NULL},
    {"relocate", loader_relocate, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

#ifdef _Py_OPAQUE_PYOBJECT /* as in app/module.c */
PyABIInfo_VAR(loader_abi);

static PySlot loader_slots[] = {
    PySlot_STATIC_DATA(Py_mod_name, "_asya_loader"),
    PySlot_STATIC_DATA(Py_mod_methods, loader_methods),
    PySlot_DATA(Py_mod_abi, &loader_abi),
    PySlot_END,
};

__attribute__((visibility("default"))) PyMODEXPORT_FUNC PyModExport__asya_loader(void);

PyMODEXPORT_FUNC PyModExport__asya_loader(void) { return loader_slots; }
#else
static PyModuleDef loader_definition = {PyModuleDef_HEAD_INIT, .m_name = "_asya_loader", .m_methods = loader_methods};

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__asya_loader(void);

PyMODINIT_FUNC PyInit__asya_loader(void) { return PyModuleDef_Init(&loader_definition); }
#endif
