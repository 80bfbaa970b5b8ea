/*
 * Arrays of numbers as nested JSON lists, straight from their memory through the buffer protocol: what
 * json.dumps(array.tolist()) gives, without the list, but for floats of less than 64 bits: these have the shortest
 * digits that read back as the same float32, as numpy prints them, not those of the double they convert to.
 *
 * Integers and bool of any width, float16, float32 and float64, 0 to any number of dimensions, any strides, native byte
 * order.
 *
 * Needs the GIL; runs no code of others but the exporter's.
 */
#ifndef ASYA_CODEC_ARRAY_H
#define ASYA_CODEC_ARRAY_H

#include "codec/output.h"
#include "codec/pyabi.h"

enum { ARRAY_DIMENSIONS_MAX = 64 };

enum array_status {
    ARRAY_WRITTEN,
    ARRAY_FULL,       /* the output said no */
    ARRAY_NOT_FINITE, /* NaN or an infinity */
    ARRAY_TOO_DEEP,   /* more dimensions than `levels` */
    ARRAY_FOREIGN,    /* not a buffer of such numbers: nothing was written, no exception is left */
};

struct array_position {
    int dimensions;
    Py_ssize_t index[ARRAY_DIMENSIONS_MAX];
};

/* Writes the array at `*at`, which moves behind it. `ret_position` says for ARRAY_NOT_FINITE which element. */
enum array_status array_write(PyObject *object, int levels, struct output *output, unsigned char **at,
                              struct array_position *ret_position);

#endif
