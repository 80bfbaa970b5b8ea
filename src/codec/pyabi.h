/*
 * CPython functions the codec uses that the stable ABI of 3.7 does not declare.
 *
 * Plain declarations: exported by every CPython from 3.7 to 3.15 (most of them joined the stable ABI later). Weak ones:
 * missing in some version, or private and free to vanish; test for NULL before the call. Each name also stands in
 * tools/image_symbols.txt. Anything whose memory layout is private is probed at start (codec/str.c), never assumed.
 */
#ifndef ASYA_CODEC_PYABI_H
#define ASYA_CODEC_PYABI_H

#include <Python.h>

#define PYABI_WEAK __attribute__((weak))

/* Stable from 3.10. Borrowed from `text`, valid as long as it lives: UTF-8 with a NUL. A copy is kept inside a str
 * that is not ASCII. NULL with an exception for lone surrogates. */
extern const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *ret_size);

/* Never stable: a new str of `size` characters, content undefined. `widest` is the largest code point it will hold and
 * decides the layout. Size 0 gives the shared empty string. */
extern PyObject *PyUnicode_New(Py_ssize_t size, Py_UCS4 widest);

/* Never stable: the types of what `def` with yield, `async def`, and both together return. */
extern PyTypeObject PyGen_Type;
extern PyTypeObject PyCoro_Type;
extern PyTypeObject PyAsyncGen_Type;

/* Stable from 3.9, absent before; 3.8 has it with an underscore. */
extern PyInterpreterState *PyInterpreterState_Get(void) PYABI_WEAK;
extern PyInterpreterState *_PyInterpreterState_Get(void) PYABI_WEAK;

/* Stable from 3.10, absent before: the collector's switch; both return what it was. */
extern int PyGC_Disable(void) PYABI_WEAK;
extern int PyGC_Enable(void) PYABI_WEAK;

#if defined(Py_LIMITED_API) && Py_LIMITED_API + 0 < 0x030b0000
/* Stable from 3.11, and laid out the same before. */
typedef struct {
    void *buf;
    PyObject *obj; /* owned: PyBuffer_Release gives it back */
    Py_ssize_t len;
    Py_ssize_t itemsize;
    int readonly;
    int ndim;
    char *format;
    Py_ssize_t *shape;
    Py_ssize_t *strides;
    Py_ssize_t *suboffsets;
    void *internal;
} Py_buffer;

enum {
    PyBUF_SIMPLE = 0,
    PyBUF_FORMAT = 0x4,
    PyBUF_ND = 0x8,
    PyBUF_STRIDES = 0x10 | PyBUF_ND,
    PyBUF_INDIRECT = 0x100 | PyBUF_STRIDES,
    PyBUF_RECORDS_RO = PyBUF_STRIDES | PyBUF_FORMAT,
    PyBUF_FULL_RO = PyBUF_INDIRECT | PyBUF_FORMAT,
};

extern int PyObject_GetBuffer(PyObject *object, Py_buffer *ret_view, int flags);
extern void PyBuffer_Release(Py_buffer *view);
#endif

/* What an object of ours keeps: `struct name { PYABI_HEAD ... }`, of PYABI_BASIC_SIZE, read by PYABI_OWN. Where objects
 * are opaque (`abi3t`, PEP 803) it is found by the type; else it stands behind the head in memory. */
#ifdef _Py_OPAQUE_PYOBJECT
#define PYABI_HEAD
#define PYABI_BASIC_SIZE(structure) (-(int)sizeof(structure))
#define PYABI_OWN(object, type)     PyObject_GetTypeData(object, type)
#else
#define PYABI_HEAD                  PyObject head;
#define PYABI_BASIC_SIZE(structure) sizeof(structure)
#define PYABI_OWN(object, type)     ((void *)(object))
#endif

#endif
