#include "codec/array.h"

#include "json/dtoa.h"
#include "json/itoa.h"

#include <stdint.h>
#include <string.h>

enum {
    PORTION = 64,     /* numbers for which room is made at once */
    NUMBER_SIZE = 25, /* of one, with its comma */
};

_Static_assert((int)OUTPUT_ROOM >= (int)DTOA_SIZE && (int)OUTPUT_ROOM >= (int)ITOA_SIZE, "room behind the last one");
_Static_assert(PORTION *NUMBER_SIZE + OUTPUT_ROOM <= OUTPUT_SLACK, "as the output allows");

/* Writes `count` numbers that lie `stride` bytes apart, each with a comma behind it. Returns the place behind, or, if
 * one is not finite, NULL with its number in `*ret_bad`. */
typedef unsigned char *run(unsigned char *at, const char *data, Py_ssize_t stride, Py_ssize_t count,
                           Py_ssize_t *ret_bad);

#define INTEGER_RUN(name, type, write)                                                                                 \
    static unsigned char *name(unsigned char *at, const char *data, Py_ssize_t stride, Py_ssize_t count,               \
                               Py_ssize_t *ret_bad)                                                                    \
    {                                                                                                                  \
        (void)ret_bad;                                                                                                 \
        for (Py_ssize_t i = 0; i < count; i++, data += stride) {                                                       \
            type value;                                                                                                \
            memcpy(&value, data, sizeof value);                                                                        \
            at = write(at, value);                                                                                     \
            *at++ = ',';                                                                                               \
        }                                                                                                              \
        return at;                                                                                                     \
    }

INTEGER_RUN(run_int8, int8_t, itoa_i64)
INTEGER_RUN(run_int16, int16_t, itoa_i64)
INTEGER_RUN(run_int32, int32_t, itoa_i64)
INTEGER_RUN(run_int64, int64_t, itoa_i64)
INTEGER_RUN(run_uint8, uint8_t, itoa_u64)
INTEGER_RUN(run_uint16, uint16_t, itoa_u64)
INTEGER_RUN(run_uint32, uint32_t, itoa_u64)
INTEGER_RUN(run_uint64, uint64_t, itoa_u64)

static inline unsigned char *array_write_bool(unsigned char *at, uint8_t value)
{
    memcpy(at, value != 0 ? "true " : "false", 5);
    return at + (value != 0 ? 4 : 5);
}

INTEGER_RUN(run_bool, uint8_t, array_write_bool)

static inline float array_widen(uint16_t half)
{
    int exponent = half >> 10 & 0x1F;
    uint32_t fraction = half & 0x3FF, sign = (uint32_t)(half >> 15) << 31, bits;
    if (exponent == 0) { /* zero and subnormals: a multiple of 2^-24 */
        float value = (float)fraction * 0x1p-24F;
        return sign ? -value : value;
    }
    bits = sign | (uint32_t)(exponent == 0x1F ? 0xFF : exponent - 15 + 127) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define FLOAT_RUN(name, type, number, convert, print)                                                                  \
    static unsigned char *name(unsigned char *at, const char *data, Py_ssize_t stride, Py_ssize_t count,               \
                               Py_ssize_t *ret_bad)                                                                    \
    {                                                                                                                  \
        for (Py_ssize_t i = 0; i < count; i++, data += stride) {                                                       \
            type stored;                                                                                               \
            memcpy(&stored, data, sizeof stored);                                                                      \
            number value = convert(stored);                                                                            \
            if (__builtin_expect(!__builtin_isfinite(value), 0)) {                                                     \
                *ret_bad = i;                                                                                          \
                return NULL;                                                                                           \
            }                                                                                                          \
            at = print(at, value);                                                                                     \
            *at++ = ',';                                                                                               \
        }                                                                                                              \
        return at;                                                                                                     \
    }

FLOAT_RUN(run_float16, uint16_t, float, array_widen, dtoa_float)
FLOAT_RUN(run_float32, float, float, , dtoa_float)
FLOAT_RUN(run_float64, double, double, , dtoa)

/* The run for a format of the struct module with one element of native byte order, or NULL. */
static run *array_run_for(const char *format, Py_ssize_t item_size)
{
    static run *const integers[2][4] = {{run_int8, run_int16, run_int32, run_int64},
                                        {run_uint8, run_uint16, run_uint32, run_uint64}};
    const char native = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>';
    if (format == NULL) {
        return NULL; /* plain bytes */
    }
    if (format[0] == '@' || format[0] == '=' || (format[0] != '\0' && format[0] == native)) {
        format++;
    }
    char letter = format[0];
    if (letter == '\0' || format[1] != '\0') {
        return NULL;
    }
    if (letter == '?') {
        return item_size == 1 ? run_bool : NULL;
    }
    if (letter == 'e' || letter == 'f' || letter == 'd') {
        return letter == 'e' && item_size == 2   ? run_float16
               : letter == 'f' && item_size == 4 ? run_float32
               : letter == 'd' && item_size == 8 ? run_float64
                                                 : NULL;
    }
    bool is_signed = strchr("bhilqn", letter) != NULL;
    if (!is_signed && strchr("BHILQN", letter) == NULL) {
        return NULL;
    }
    switch (item_size) {
    case 1:
    case 2:
    case 4:
    case 8:
        return integers[!is_signed][__builtin_ctzll((unsigned long long)item_size)];
    default:
        return NULL;
    }
}

struct array {
    Py_buffer view;
    run *write;
    struct output *output;
    unsigned char *at;
    struct array_position *position; /* of the list or number being written */
};

/* The numbers of the innermost dimension, each with a comma behind it. */
static enum array_status array_write_row(struct array *array, const char *data, Py_ssize_t stride, Py_ssize_t count,
                                         Py_ssize_t *ret_bad)
{
    for (Py_ssize_t done = 0; done < count;) {
        Py_ssize_t portion = count - done < PORTION ? count - done : PORTION;
        array->at = output_reserve(array->output, array->at, (size_t)portion * NUMBER_SIZE);
        if (array->at == NULL) {
            return ARRAY_FULL;
        }
        unsigned char *next = array->write(array->at, data, stride, portion, ret_bad);
        if (next == NULL) {
            *ret_bad += done;
            return ARRAY_NOT_FINITE;
        }
        array->at = next;
        data += stride * portion;
        done += portion;
    }
    return ARRAY_WRITTEN;
}

/* The list of dimension `depth` that starts at `data`, and those inside it. */
static enum array_status array_write_list(struct array *array, const char *data, int depth)
{
    Py_ssize_t count = array->view.shape[depth], stride = array->view.strides[depth];
    Py_ssize_t *index = &array->position->index[depth];
    enum array_status status = ARRAY_WRITTEN;
    array->at = output_room(array->output, array->at);
    if (array->at == NULL) {
        return ARRAY_FULL;
    }
    *array->at++ = '[';
    if (depth == array->view.ndim - 1) {
        status = array_write_row(array, data, stride, count, index);
    } else {
        for (*index = 0; status == ARRAY_WRITTEN && *index < count; data += stride) {
            status = array_write_list(array, data, depth + 1);
            if (status == ARRAY_WRITTEN) {
                *array->at++ = ','; /* writing a list left room */
                ++*index;
            }
        }
    }
    if (status == ARRAY_WRITTEN) {
        array->at -= array->at[-1] == ',';
        *array->at++ = ']';
    }
    return status == ARRAY_WRITTEN && (array->at = output_room(array->output, array->at)) == NULL ? ARRAY_FULL : status;
}

/* numpy shows its dates as bytes, without the strides that were asked for. */
static bool array_is_plain(const Py_buffer *view)
{
    return view->ndim == 0 || (view->ndim > 0 && view->ndim <= ARRAY_DIMENSIONS_MAX && view->shape != NULL &&
                               view->strides != NULL && view->suboffsets == NULL);
}

static enum array_status array_write_elements(struct array *array)
{
    if (array->view.ndim > 0) {
        return array_write_list(array, array->view.buf, 0);
    }
    Py_ssize_t bad;
    enum array_status status = array_write_row(array, array->view.buf, 0, 1, &bad);
    array->at -= status == ARRAY_WRITTEN; /* the comma */
    return status;
}

enum array_status array_write(PyObject *object, int levels, struct output *output, unsigned char **at,
                              struct array_position *ret_position)
{
    struct array array = {.output = output, .at = *at, .position = ret_position};
    if (PyObject_GetBuffer(object, &array.view, PyBUF_RECORDS_RO) < 0) {
        PyErr_Clear();
        return ARRAY_FOREIGN;
    }
    enum array_status status = ARRAY_FOREIGN;
    array.write = array_run_for(array.view.format, array.view.itemsize);
    if (array.write != NULL && array_is_plain(&array.view)) {
        ret_position->dimensions = array.view.ndim;
        status = array.view.ndim > levels ? ARRAY_TOO_DEEP : array_write_elements(&array);
        *at = array.at;
    }
    PyBuffer_Release(&array.view);
    return status;
}
