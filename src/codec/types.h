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
    TYPE_LIST,      /* by its storage, as json does */
    TYPE_TUPLE,     /* a named tuple is one */
    TYPE_FIELDS,    /* dataclass, msgspec.Struct: an object of the attributes `names` lists */
    TYPE_MODEL,     /* pydantic 2: model_dump(mode="json") */
    TYPE_MODEL_1,   /* pydantic 1: dict() */
    TYPE_ENUM,      /* its value */
    TYPE_ISOFORMAT, /* datetime, date, time: isoformat() */
    TYPE_TEXT,      /* UUID, Decimal, paths: str() */
    TYPE_BYTES,     /* bytes, bytearray, memoryview: base64 */
    TYPE_SET,       /* a list in the order of iteration */
    TYPE_ARRAY,     /* numpy arrays and scalars, array.array: by their buffer, if that is of plain numbers */
    TYPE_TOLIST,    /* tensors, masked arrays, series: tolist() */
};

struct type {
    enum type_kind kind;
    PyObject *names; /* new reference to a tuple of str for TYPE_FIELDS, else NULL */
};

/* The type of `object`. False with an exception if there is no memory, or if the fields of a dataclass cannot be had.
 */
bool types_find(PyObject *object, struct type *ret_type);

#endif
