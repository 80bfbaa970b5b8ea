/*
 * One loop with a stack of its own, so nesting costs no C stack:
 *
 *     value --scalar or empty container--> have --top level--> done
 *       ^ |                                 | |
 *       | `-- [ --> value                   | `-- ] } --> have (the container)
 *       |   { --> key --> ":" --> value     |
 *       `------------------ , in a list ----|
 *              key <------- , in an object -'
 *
 * Finished values wait on one stack of references; a container is made when it closes, with its final size. A container
 * of very many items is filled in portions, so the stack stays small.
 */
#include "codec/decode.h"

#include "codec/collector.h"
#include "codec/keycache.h"
#include "codec/layout.h"
#include "codec/str.h"
#include "json/hint.h"
#include "json/number_inline.h"
#include "json/utf8.h"

#include <stdlib.h>

enum {
    DEPTH_MAX = 1000,
    VALUES_MIN = 512,    /* first capacity of the stack of values */
    VALUES_KEPT = 8192,  /* a workspace with more is freed after the call, not kept for the next one */
    PORTION = 65536,     /* values of one container that may wait; even, so that keys stay with their values */
    SMALL_FIRST = -1024, /* integers from here to SMALL_LAST are kept */
    SMALL_LAST = 1023,
    COLLECTOR_BYTES = 16384, /* texts from this size on are decoded with the cyclic collector off */
};

/* An open container. */
struct frame {
    size_t first;        /* index of its first waiting value; in an object keys and values alternate */
    PyObject *container; /* owned; holds the portions before those; NULL while there is none */
    bool is_object;
};

/* Kept between calls by `spare`, and owned by one call at a time. */
struct workspace {
    PyObject **values; /* owned references */
    size_t count, capacity;
    size_t depth; /* open frames */
    struct frame frames[DEPTH_MAX];
};

struct decoder {
    const unsigned char *text, *end;
    struct workspace *work;
    struct error *err;
};

static struct workspace *spare;

static struct workspace *decode_workspace_take(void)
{
    struct workspace *work = spare;
    spare = NULL;
    if (work != NULL) {
        return work;
    }
    work = malloc(sizeof *work);
    PyObject **values = malloc(VALUES_MIN * sizeof *values);
    if (work == NULL || values == NULL) {
        free(work);
        free(values);
        return NULL;
    }
    work->values = values;
    work->capacity = VALUES_MIN;
    work->count = work->depth = 0;
    return work;
}

/* Gives up all references (there are none after a success) and keeps or frees the memory. */
static void decode_workspace_release(struct workspace *work)
{
    while (work->depth > 0) {
        Py_XDECREF(work->frames[--work->depth].container);
    }
    while (work->count > 0) {
        Py_DECREF(work->values[--work->count]);
    }
    if (spare == NULL && work->capacity <= VALUES_KEPT) {
        spare = work;
        return;
    }
    free(work->values);
    free(work);
}

/* Errors. All return NULL. */

static void *decode_fail(struct decoder *d, const unsigned char *at, const char *what)
{
    size_t offset = (size_t)(at - d->text);
    error_set(d->err, ERR_JSON, offset, "%s at byte %zu", what, offset);
    return NULL;
}

static void *decode_fail_unexpected(struct decoder *d, const unsigned char *at)
{
    size_t offset = (size_t)(at - d->text);
    if (at == d->end) {
        return decode_fail(d, at, "unexpected end");
    }
    hint_unexpected(d->err, d->text, (size_t)(d->end - d->text), offset);
    return NULL;
}

/* Clears the Python exception. */
static void *decode_fail_memory(struct decoder *d, const unsigned char *at)
{
    PyErr_Clear();
    error_set(d->err, ERR_MEMORY, (size_t)(at - d->text), "not enough memory to decode the message");
    return NULL;
}

static void *decode_fail_string(struct decoder *d, const unsigned char *quote, const struct string_shape *shape,
                                enum string_status status)
{
    switch (status) {
    case STRING_CONTROL:
        return decode_fail(d, shape->end, "control character in a string");
    case STRING_ESCAPE:
        return decode_fail(d, shape->end, "wrong escape in a string");
    case STRING_ENCODING:
        return decode_fail(d, shape->end, "not UTF-8");
    default:
        return decode_fail(d, quote, "string is not closed,");
    }
}

/* Reading. All functions below take the place to read at and return the place behind what they read, or NULL on
 * failure; objects they return are new references. */

static inline const unsigned char *decode_skip_space(const unsigned char *at, const unsigned char *end)
{
    while (at < end && *at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
        while (end - at >= BLOCK_SIZE && *at == ' ') {
            at += block_spaces(at);
        }
    }
    return at;
}

/* Makes room on the stack, by moving values into their container or by growing. */
static bool decode_values_push_slow(struct workspace *work);

/* Takes the reference, also on failure, which is for want of memory. */
static inline bool decode_values_push(struct workspace *work, PyObject *value)
{
    if (__builtin_expect(work->count == work->capacity, 0) && !decode_values_push_slow(work)) {
        Py_XDECREF(value);
        return false;
    }
    work->values[work->count++] = value;
    return true;
}

/* A list of the values from `first` on, which are moved into it. */
static PyObject *decode_list_of(struct workspace *work, size_t first)
{
    size_t size = work->count - first;
    PyObject *list = PyList_New((Py_ssize_t)size);
    if (list != NULL) {
        layout_list_fill(list, work->values + first, size);
        work->count = first;
    }
    return list;
}

/* Moves the waiting pairs of keys and values from `first` on into `dict`. */
static bool decode_dict_fill(struct workspace *work, PyObject *dict, size_t first)
{
    for (size_t i = first; i + 1 < work->count; i += 2) {
        if (PyDict_SetItem(dict, work->values[i], work->values[i + 1]) < 0) {
            return false; /* what is left on the stack is given up by decode_workspace_release */
        }
    }
    while (work->count > first) {
        Py_DECREF(work->values[--work->count]);
    }
    return true;
}

/* Moves what waits for this frame into its container. */
static bool decode_frame_flush(struct workspace *work, struct frame *frame)
{
    if (frame->is_object) {
        if (frame->container == NULL && (frame->container = PyDict_New()) == NULL) {
            return false;
        }
        return decode_dict_fill(work, frame->container, frame->first);
    }
    PyObject *list = decode_list_of(work, frame->first);
    if (list == NULL) {
        return false;
    }
    if (frame->container == NULL) {
        frame->container = list;
        return true;
    }
    Py_ssize_t size = PyList_Size(frame->container);
    bool done = PyList_SetSlice(frame->container, size, size, list) == 0;
    Py_DECREF(list);
    return done;
}

static bool decode_values_push_slow(struct workspace *work)
{
    if (work->depth > 0) {
        struct frame *frame = &work->frames[work->depth - 1];
        size_t waiting = work->count - frame->first;
        if (waiting >= PORTION && (!frame->is_object || waiting % 2 == 0)) {
            return decode_frame_flush(work, frame);
        }
    }
    size_t bytes;
    PyObject **values = NULL;
    if (!__builtin_mul_overflow(work->capacity, 2 * sizeof *values, &bytes)) {
        values = realloc(work->values, bytes);
    }
    if (values == NULL) {
        return false;
    }
    work->values = values;
    work->capacity *= 2;
    return true;
}

static const unsigned char *decode_open_container(struct decoder *d, const unsigned char *at, bool is_object)
{
    struct workspace *work = d->work;
    if (work->depth == DEPTH_MAX) {
        return decode_fail(d, at, "more than 1000 levels of nesting");
    }
    work->frames[work->depth++] = (struct frame){.first = work->count, .is_object = is_object};
    return decode_skip_space(at + 1, d->end);
}

/* The finished container of the innermost frame, which is left; NULL without memory. */
static PyObject *decode_close_container(struct decoder *d)
{
    struct workspace *work = d->work;
    struct frame *frame = &work->frames[work->depth - 1];
    if (!frame->is_object && frame->container == NULL) {
        PyObject *list = decode_list_of(work, frame->first);
        work->depth -= list != NULL;
        return list;
    }
    if (!decode_frame_flush(work, frame)) {
        return NULL;
    }
    work->depth--;
    return frame->container;
}

/* `quote` is the opening one. */
static const unsigned char *decode_read_string(struct decoder *d, const unsigned char *quote, PyObject **ret_object)
{
    const unsigned char *first = quote + 1, *plain = string_plain(first, d->end);
    const unsigned char *end = plain;
    PyObject *object;
    if (__builtin_expect(plain < d->end && *plain == '"', 1)) {
        object = str_ascii(first, (size_t)(plain - first));
    } else {
        struct string_shape shape;
        enum string_status status = string_measure(first, d->end, &shape);
        if (status != STRING_OK) {
            return decode_fail_string(d, quote, &shape, status);
        }
        object = str_json(first, &shape);
        end = shape.end;
    }
    if (object == NULL) {
        return decode_fail_memory(d, quote);
    }
    *ret_object = object;
    return end + 1;
}

/* A key that was not guessed; `quote` is the opening one. */
static const unsigned char *decode_read_other_key(struct decoder *d, const unsigned char *quote, PyObject **ret_key)
{
    const unsigned char *first = quote + 1, *plain = string_plain(first, d->end);
    if (plain == d->end || *plain != '"' || plain - first > KEYCACHE_KEY_MAX) {
        return decode_read_string(d, quote, ret_key);
    }
    *ret_key = keycache_get(first, (size_t)(plain - first));
    return *ret_key != NULL ? plain + 1 : decode_fail_memory(d, quote);
}

/* A key, pushed, and the colon behind it. */
static const unsigned char *decode_read_key(struct decoder *d, const unsigned char *at)
{
    if (at == d->end || *at != '"') {
        return decode_fail_unexpected(d, at);
    }
    size_t size;
    PyObject *key = keycache_guess(at + 1, d->end, &size);
    if (__builtin_expect(key != NULL, 1)) {
        at += size + 2;
    } else if ((at = decode_read_other_key(d, at, &key)) == NULL) {
        return NULL;
    }
    if (!decode_values_push(d->work, key)) {
        return decode_fail_memory(d, at);
    }
    at = decode_skip_space(at, d->end);
    if (at == d->end || *at != ':') {
        return decode_fail_unexpected(d, at);
    }
    return decode_skip_space(at + 1, d->end);
}

/* Integers near zero, made once: making one costs more than reading it. */
static PyObject *small_integers[SMALL_LAST - SMALL_FIRST + 1];

static bool decode_init_integers(void)
{
    for (int i = SMALL_FIRST; i <= SMALL_LAST; i++) {
        PyObject **place = &small_integers[i - SMALL_FIRST];
        if (*place == NULL && (*place = PyLong_FromLong(i)) == NULL) {
            return false;
        }
    }
    return true;
}

static inline PyObject *decode_integer(int64_t value)
{
    if (value < SMALL_FIRST || value > SMALL_LAST) {
        return PyLong_FromLongLong(value);
    }
    PyObject *object = small_integers[value - SMALL_FIRST];
    Py_INCREF(object);
    return object;
}

static PyObject *decode_big_integer(const unsigned char *at, const unsigned char *end)
{
    size_t size = (size_t)(end - at);
    char *digits = malloc(size + 1);
    if (digits == NULL) {
        return PyErr_NoMemory();
    }
    memcpy(digits, at, size);
    digits[size] = '\0';
    PyObject *object = PyLong_FromString(digits, NULL, 10);
    free(digits);
    return object;
}

static PyObject *decode_undecided_double(const unsigned char *at, const unsigned char *end)
{
    char text[NUMBER_CONDENSED_SIZE];
    number_condense(at, end, text);
    double real = PyOS_string_to_double(text, NULL, NULL);
    return PyErr_Occurred() == NULL ? PyFloat_FromDouble(real) : NULL;
}

static const unsigned char *decode_read_number(struct decoder *d, const unsigned char *at, PyObject **ret_object)
{
    struct number number;
    const unsigned char *end = number_parse(at, d->end, &number);
    PyObject *object = NULL;
    switch (number.kind) {
    case NUMBER_BAD:
        return decode_fail_unexpected(d, end);
    case NUMBER_SIGNED:
        object = decode_integer(number.integer);
        break;
    case NUMBER_UNSIGNED:
        object = PyLong_FromUnsignedLongLong(number.natural);
        break;
    case NUMBER_BIG:
        object = decode_big_integer(at, end);
        break;
    case NUMBER_DOUBLE:
        object = PyFloat_FromDouble(number.real);
        break;
    case NUMBER_UNDECIDED:
        object = decode_undecided_double(at, end);
        break;
    }
    if (object == NULL) {
        bool too_long = number.kind == NUMBER_BIG && PyErr_ExceptionMatches(PyExc_ValueError);
        decode_fail_memory(d, at);
        return too_long ? decode_fail(d, at, "integer with more digits than Python's limit") : NULL;
    }
    *ret_object = object;
    return end;
}

static const unsigned char *decode_read_literal(struct decoder *d, const unsigned char *at, const char *word,
                                                PyObject *object, PyObject **ret_object)
{
    for (; *word != '\0'; word++, at++) {
        if (at == d->end || *at != (unsigned char)*word) {
            return decode_fail_unexpected(d, at);
        }
    }
    Py_INCREF(object);
    *ret_object = object;
    return at;
}

/* Anything but a container. */
static inline const unsigned char *decode_read_scalar(struct decoder *d, const unsigned char *at, PyObject **ret_object)
{
    if (at == d->end) {
        return decode_fail_unexpected(d, at);
    }
    switch (*at) {
    case '"':
        return decode_read_string(d, at, ret_object);
    case 't':
        return decode_read_literal(d, at, "true", Py_True, ret_object);
    case 'f':
        return decode_read_literal(d, at, "false", Py_False, ret_object);
    case 'n':
        return decode_read_literal(d, at, "null", Py_None, ret_object);
    default:
        if (*at != '-' && (*at < '0' || *at > '9')) {
            return decode_fail_unexpected(d, at);
        }
        return decode_read_number(d, at, ret_object);
    }
}

/* The value at `at`; `*ret_end` is the place behind it. New reference, or NULL. */
static PyObject *decode_read_value(struct decoder *d, const unsigned char *at, const unsigned char **ret_end)
{
    PyObject *object = NULL;
value:
    if (at < d->end && (*at == '[' || *at == '{')) {
        unsigned char closing = *at == '[' ? ']' : '}';
        at = decode_open_container(d, at, closing == '}');
        if (at == NULL) {
            return NULL;
        }
        if (at < d->end && *at == closing) {
            goto close;
        }
        if (closing == '}' && (at = decode_read_key(d, at)) == NULL) {
            return NULL;
        }
        goto value;
    }
    at = decode_read_scalar(d, at, &object);
    if (at == NULL) {
        return NULL;
    }
have:
    if (d->work->depth == 0) {
        *ret_end = at;
        return object;
    }
    if (!decode_values_push(d->work, object)) {
        return decode_fail_memory(d, at);
    }
    at = decode_skip_space(at, d->end);
    const bool in_object = d->work->frames[d->work->depth - 1].is_object;
    if (at < d->end && *at == ',') {
        at = decode_skip_space(at + 1, d->end);
        if (in_object && (at = decode_read_key(d, at)) == NULL) {
            return NULL;
        }
        goto value;
    }
    if (at == d->end || *at != (in_object ? '}' : ']')) {
        return decode_fail_unexpected(d, at);
    }
close:
    object = decode_close_container(d);
    if (object == NULL) {
        return decode_fail_memory(d, at);
    }
    at++;
    goto have;
}

/* The one value of the text, with white space around it. */
static PyObject *decode_read_text(struct decoder *d)
{
    const unsigned char *at = decode_skip_space(d->text, d->end);
    if (at == d->end) {
        error_set(d->err, ERR_EMPTY, 0, d->text == d->end ? "the message is empty" : "nothing but white space");
        return NULL;
    }
    PyObject *object = decode_read_value(d, at, &at);
    if (object == NULL) {
        return NULL;
    }
    at = decode_skip_space(at, d->end);
    if (at < d->end) {
        Py_DECREF(object);
        return decode_fail(d, at, "trailing data");
    }
    return object;
}

/* A text that is not JSON may also not be UTF-8, and then that is reported. */
static void decode_prefer_encoding(const struct decoder *d)
{
    size_t size = (size_t)(d->end - d->text);
    size_t valid = d->err != NULL && d->err->category == ERR_JSON ? utf8_valid_prefix(d->text, size) : size;
    if (valid < size) {
        error_set(d->err, ERR_ENCODING, valid, "the message is not UTF-8 at byte %zu", valid);
    }
}

PyObject *decode(const unsigned char *text, size_t size, struct error *err)
{
    struct decoder d = {.text = text, .end = text + size, .err = err};
    d.work = decode_workspace_take();
    if (d.work == NULL) {
        return decode_fail_memory(&d, text);
    }
    bool paused = size >= COLLECTOR_BYTES && collector_pause();
    PyObject *object = decode_read_text(&d);
    decode_workspace_release(d.work);
    if (paused) {
        collector_resume();
    }
    if (object == NULL) {
        decode_prefer_encoding(&d);
    }
    return object;
}

bool decode_init(void)
{
    layout_init();
    str_init();
    keycache_init();
    return decode_init_integers();
}
