/*
 * Which objects beyond json's own types the encoder knows, and how it writes each: decided once for a type.
 *
 * Nothing is imported for it: a class of enum, datetime, uuid, decimal, pathlib or numpy can only have come from a
 * module that is loaded, so it is looked up there, and only when a value of an unknown type turns up. Decisions are
 * kept in a table of fixed size, where a newer type displaces an older one; it keeps at most TYPES_KEPT types alive.
 *
 * Needs the GIL. One table per process.
 */
#ifndef ASYA_CODEC_TYPES_H
#define ASYA_CODEC_TYPES_H

#include "codec/pyabi.h"

#include <stdbool.h>

enum { TYPES_KEPT = 64 };

enum type_kind {
    TYPE_UNKNOWN,   /* cannot be written */
    TYPE_STR,       /* from here to TYPE_TUPLE: subclasses of json's own types, written as these */
    TYPE_INT,       /* an IntEnum too */
    TYPE_FLOAT,     /* numpy.float64 too */
    TYPE_DICT,      /* by its items() */
    TYPE_LIST,      /* by its storage, unless it has an __iter__ of its own: TYPE_SET */
    TYPE_TUPLE,     /* a named tuple is one */
    TYPE_FIELDS,    /* dataclass, attrs class: an object of the attributes `about` lists */
    TYPE_STAND_IN,  /* what `about`, a function, gives for it */
    TYPE_ENUM,      /* its value */
    TYPE_ISOFORMAT, /* datetime, date, time: isoformat() */
    TYPE_TEXT,      /* UUID, Decimal, paths: str() */
    TYPE_BYTES,     /* bytes, bytearray, memoryview: base64 */
    TYPE_SET,       /* a list in the order of iteration; lists and tuples with an __iter__ of their own */
    TYPE_ARRAY,     /* numpy arrays and scalars, array.array: by their buffer, if that is of plain numbers */
    TYPE_TOLIST,    /* tensors, masked arrays, series, dates of numpy: what is answered to "listed" */
};

struct type {
    enum type_kind kind;
    PyObject *about; /* new reference: a tuple of str for TYPE_FIELDS, a function for TYPE_STAND_IN, else NULL */
};

/* Answers questions about what Python code can tell better (python/results.h): "writer_of", of a class: a function that
 * gives what stands for an object of it, or None; "listed", of an array: the same as lists, or as a plain array;
 * "hint_about", of a class: its name and what is to be said of it where nothing
 * stands for its objects; "key_of": a tuple of the key that is written for one, or an empty one. New reference, or NULL
 * with an exception. */
typedef PyObject *types_answer(const char *question, PyObject *about);

void types_ask(types_answer *answer);

/* Asks. Not implemented where there is nobody to ask. */
PyObject *types_answer_to(const char *question, PyObject *about);

/* The type of `object`. False with an exception if there is no memory, or if what is to be known of it cannot be had.
 */
bool types_find(PyObject *object, struct type *ret_type);

#endif
