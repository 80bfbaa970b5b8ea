/*
 * Reading str, list, tuple, float and int, and filling lists, straight in memory, where this interpreter's private
 * layout is known.
 *
 * The stable ABI has a function for each, and an array of a million floats makes two million calls. Layouts have not
 * changed since 3.3 but for what stands before a string's characters; still nothing is assumed: layout_init compares
 * what it reads with what the functions say, on probe objects, and where they differ the functions are used.
 *
 * Needs the GIL. Everything returned is borrowed from the object.
 */
#ifndef ASYA_CODEC_LAYOUT_H
#define ASYA_CODEC_LAYOUT_H

#include "codec/pyabi.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What layout_init found. Read only by the functions below. */
extern struct layout {
    bool floats, lists, tuples, strings;
    enum { INTS_UNKNOWN, INTS_BY_SIZE, INTS_BY_TAG } ints;
    size_t ascii_text; /* bytes from a pure ASCII str to its characters */
    size_t wide_text;  /* the same for all other compact ones */
} layout;

/* Probes, the first time. Called before the others. Never fails. */
void layout_init(void);

/* What a str keeps: its characters and how wide they are. */
enum text_kind {
    TEXT_UNKNOWN = 0, /* not known, or none of the below: ask the functions */
    TEXT_LATIN1 = 0x24,
    TEXT_UCS2 = 0x28,
    TEXT_UCS4 = 0x30,
    TEXT_ASCII = 0x64,
};

enum {
    LAYOUT_HEAD = 16,               /* of an object: its reference count and its type; free-threaded builds have more */
    LAYOUT_SIZED_HEAD = 24,         /* of one that has a size */
    LAYOUT_STATE_OFFSET = 32,       /* in a str: flags behind length and hash */
    LAYOUT_STATE_MASK = 0x7C,       /* width of a character, whether they follow the head, whether all are ASCII */
    LAYOUT_LENGTH_OFFSET = 16,      /* in a str */
    LAYOUT_TAG_TWO_DIGITS = 2 << 3, /* in an int since 3.12: the least tag of one with more than one digit */
};

/* `text` is a str (a subclass is never known). */
static inline enum text_kind layout_text_kind(PyObject *text)
{
    uint32_t state;
    memcpy(&state, (const char *)text + LAYOUT_STATE_OFFSET, sizeof state);
    return __builtin_expect(layout.strings, 1) ? (enum text_kind)(state & LAYOUT_STATE_MASK) : TEXT_UNKNOWN;
}

/* Only for a str whose kind is known. */
static inline size_t layout_text_length(PyObject *text)
{
    size_t length;
    memcpy(&length, (const char *)text + LAYOUT_LENGTH_OFFSET, sizeof length);
    return length;
}

static inline const void *layout_text_data(PyObject *text, enum text_kind kind)
{
    return (const char *)text + (kind == TEXT_ASCII ? layout.ascii_text : layout.wide_text);
}

/* A float or an instance of a subclass. */
static inline double layout_float(PyObject *number)
{
    if (__builtin_expect(!layout.floats, 0)) {
        return PyFloat_AsDouble(number);
    }
    double value;
    memcpy(&value, (const char *)number + LAYOUT_HEAD, sizeof value);
    return value;
}

/* The value of an int, or of an instance of a subclass, of at most one digit (30 bits). False: ask the functions. Up to
 * CPython 3.11 the number of digits stands before them, negative for a negative int; since 3.12 a tag: 0 positive, 1
 * zero, 2 negative in the lowest two bits, the number of digits from the fourth on. */
static inline bool layout_small_int(PyObject *number, int64_t *ret_value)
{
    int64_t head;
    uint32_t digit;
    memcpy(&head, (const char *)number + LAYOUT_HEAD, sizeof head);
    bool by_size = layout.ints == INTS_BY_SIZE;
    if (by_size ? head < -1 || head > 1 : layout.ints != INTS_BY_TAG || (uint64_t)head >= LAYOUT_TAG_TWO_DIGITS) {
        return false;
    }
    /* an old zero has no digit: then what stands for one is the head, which is zero */
    memcpy(&digit, (const char *)number + LAYOUT_HEAD + (head != 0 ? sizeof head : 0), sizeof digit);
    *ret_value = (by_size ? head : 1 - (head & 3)) * (int64_t)digit;
    return true;
}

/* The items of a list, and of a tuple; subclasses too. NULL where functions must be asked for them. */
static inline PyObject *const *layout_list_values(PyObject *list)
{
    PyObject **items = NULL;
    if (__builtin_expect(layout.lists, 1)) {
        memcpy(&items, (const char *)list + LAYOUT_SIZED_HEAD, sizeof items);
    }
    return items;
}

static inline PyObject *const *layout_tuple_values(PyObject *tuple)
{
    return __builtin_expect(layout.tuples, 1)
               ? (PyObject *const *)(const void *)((const char *)tuple + LAYOUT_SIZED_HEAD)
               : NULL;
}

/* Moves `size` references into a list that was just made with as many places. */
static inline void layout_list_fill(PyObject *list, PyObject *const *values, size_t size)
{
    if (__builtin_expect(!layout.lists, 0)) {
        for (size_t i = 0; i < size; i++) {
            PyList_SetItem(list, (Py_ssize_t)i, values[i]);
        }
        return;
    }
    PyObject **items;
    memcpy(&items, (const char *)list + LAYOUT_SIZED_HEAD, sizeof items);
    for (size_t i = 0; i < size; i++) { /* a call of memcpy costs more than the few of most lists */
        items[i] = values[i];
    }
}

#endif
