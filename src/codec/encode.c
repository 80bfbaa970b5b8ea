/*
 * One loop with a stack of its own, so nesting costs no C stack:
 *
 *     value --- scalar ------------------------------> written --- top level ---> done
 *       ^  `--- container: pushed, "[" --> walk           |
 *       |                                  ^  |           |
 *       |                                  |  `- end: popped, "]"
 *       `----- one that is no scalar <-----'<-------------'
 *
 * walk writes the scalars of a container without leaving it. Behind every value in a container stands a comma; the end
 * of the container overwrites the last one. Nothing is kept for error texts while all goes well: the path to a culprit
 * is read from the stack.
 *
 * No code but ours runs while a scalar is written, so it is only borrowed. Whatever is not a scalar of an exact type
 * may run code that changes every container around it: it is held, and so are the containers and the key on the way.
 */
#include "codec/encode.h"

#include "codec/array.h"
#include "codec/layout.h"
#include "codec/output.h"
#include "codec/path.h"
#include "codec/types.h"
#include "json/base64.h"
#include "json/dtoa.h"
#include "json/escape.h"
#include "json/itoa.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 1000,
    TEXT_PORTION = 1024, /* characters for which the worst case of escaping is reserved at once */
    CONVERSIONS_MAX = 32 /* an object that stands for another, that stands for another, ... */
};

_Static_assert((int)ESCAPE_ROOM(TEXT_PORTION) + (int)OUTPUT_ROOM <= (int)OUTPUT_SLACK, "as the output allows");
_Static_assert((int)OUTPUT_ROOM >= (int)DTOA_SIZE + 4 && (int)DTOA_SIZE >= (int)ITOA_SIZE, "a number and punctuation");

enum form {
    FORM_LIST,
    FORM_TUPLE,
    FORM_DICT,
    FORM_PAIRS,  /* a list of the items of a dict subclass */
    FORM_FIELDS, /* a tuple of the names of attributes */
};

/* An open container. */
struct frame {
    PyObject *object; /* owned; what stands in the result */
    PyObject *items;  /* owned; what is walked */
    PyObject *key;    /* owned; of the value above this frame, or of the one that failed; NULL in a list */
    Py_ssize_t at;    /* the next index; the position of PyDict_Next */
    Py_ssize_t size;  /* of a dict when it was opened */
    enum form form;
};

/* Kept between calls by `spare`, and owned by one call at a time. */
struct workspace {
    size_t depth; /* open frames */
    struct frame frames[DEPTH_MAX];
    struct array_position position; /* of the number that failed */
};

struct encoder {
    struct output out;
    struct workspace *work;
    struct error *err; /* category, type and text; the path is put before it at the end */
    bool in_array;     /* the error is about the number at work->position in an array */
    bool whole;        /* the error is about the whole, not about a place in it */
};

static struct workspace *spare;

/* ---- errors: all return NULL, as a place to write at --------------------------------------------------------------
 */

__attribute__((format(printf, 3, 4))) static void *fail(struct encoder *e, const char *type, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE - PATH_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set_processing(e->err, type, "%s", text);
    return NULL;
}

static void *fail_memory(struct encoder *e)
{
    error_set(e->err, ERR_MEMORY, 0, "no memory to write the result");
    return NULL;
}

static void name_of_type(PyTypeObject *type, char *name, size_t size)
{
    PyObject *attribute = PyObject_GetAttrString((PyObject *)type, "__name__");
    name[0] = '\0';
    if (attribute != NULL) {
        path_text_of(attribute, name, size);
        Py_DECREF(attribute);
    }
    PyErr_Clear();
}

/* The exception that is set, as an error. */
static void *fail_raised(struct encoder *e)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL || PyErr_GivenExceptionMatches(type, PyExc_MemoryError)) {
        fail_memory(e);
    } else {
        char name[ERROR_TYPE_SIZE], text[ERROR_TEXT_SIZE - PATH_SIZE] = "";
        PyErr_NormalizeException(&type, &value, &traceback);
        name_of_type((PyTypeObject *)type, name, sizeof name);
        if (value != NULL) {
            path_text_of(value, text, sizeof text);
        }
        fail(e, name[0] != '\0' ? name : "Exception", "%s", text[0] != '\0' ? text : name);
    }
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
    return NULL;
}

static void *fail_unknown_type(struct encoder *e, PyObject *object)
{
    char name[ERROR_TYPE_SIZE];
    name_of_type(Py_TYPE(object), name, sizeof name);
    const char *hint = strcmp(name, "coroutine") == 0                                           ? ": await it"
                       : strcmp(name, "generator") == 0 || strcmp(name, "async_generator") == 0 ? ": make it a list"
                                                                                                : "";
    return fail(e, "TypeError", "an object of type %s cannot be written as JSON%s", name, hint);
}

static void *fail_number(struct encoder *e, double value)
{
    const char *name = value != value ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
    return fail(e, "ValueError", "%s is no JSON number", name);
}

/* ---- scalars: write at the place, where OUTPUT_ROOM bytes are free, and leave as many but punctuation free behind --
 */

static inline unsigned char *reserve(struct encoder *e, unsigned char *at, size_t size)
{
    return output_reserve(&e->out, at, size);
}

static inline unsigned char *put(unsigned char *at, const char *text, size_t size)
{
    memcpy(at, text, size);
    return at + size;
}

static unsigned char *escape_part(unsigned char *at, enum text_kind kind, const void *data, size_t first, size_t size)
{
    switch (kind) {
    case TEXT_LATIN1:
        return escape_latin1(at, (const uint8_t *)data + first, size);
    case TEXT_UCS2:
        return escape_ucs2(at, (const uint16_t *)data + first, size);
    case TEXT_UCS4:
        return escape_ucs4(at, (const uint32_t *)data + first, size);
    default:
        return escape_bytes(at, (const unsigned char *)data + first, size);
    }
}

/* Characters of any kind; TEXT_UNKNOWN stands for valid UTF-8. In portions: the worst case of a whole long text would
 * ask for six times its size. */
static unsigned char *write_characters(struct encoder *e, unsigned char *at, enum text_kind kind, const void *data,
                                       size_t size)
{
    at = reserve(e, at, size + OUTPUT_ROOM);
    if (at == NULL) {
        return NULL;
    }
    *at++ = '"';
    for (size_t done = 0; done < size;) {
        size_t portion = size - done < TEXT_PORTION ? size - done : TEXT_PORTION;
        at = reserve(e, at, ESCAPE_ROOM(portion) + OUTPUT_ROOM);
        if (at == NULL) {
            return NULL;
        }
        at = escape_part(at, kind, data, done, portion);
        done += portion;
    }
    *at++ = '"';
    return at;
}

/* A str that has lone surrogates and an unknown layout. */
static unsigned char *write_copied(struct encoder *e, unsigned char *at, PyObject *text)
{
    Py_ssize_t length = PyUnicode_GetLength(text);
    Py_UCS4 *characters = PyUnicode_AsUCS4Copy(text);
    if (characters == NULL) {
        return fail_raised(e);
    }
    at = write_characters(e, at, TEXT_UCS4, characters, (size_t)length);
    PyMem_Free(characters);
    return at;
}

static unsigned char *write_other_text(struct encoder *e, unsigned char *at, PyObject *text, enum text_kind kind)
{
    if (kind == TEXT_ASCII || kind == TEXT_LATIN1 || kind == TEXT_UCS2 || kind == TEXT_UCS4) {
        return write_characters(e, at, kind, layout_text_data(text, kind), layout_text_length(text));
    }
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    if (utf8 != NULL) {
        return write_characters(e, at, TEXT_UNKNOWN, utf8, (size_t)size);
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        return fail_raised(e);
    }
    PyErr_Clear();
    return write_copied(e, at, text);
}

/* An exact str. Needs no room at the place. */
static inline unsigned char *write_text(struct encoder *e, unsigned char *at, PyObject *text)
{
    enum text_kind kind = layout_text_kind(text);
    if (__builtin_expect(kind == TEXT_ASCII, 1)) {
        size_t size = layout_text_length(text);
        if (__builtin_expect(size <= TEXT_PORTION, 1)) {
            at = reserve(e, at, ESCAPE_ROOM(size) + OUTPUT_ROOM);
            if (__builtin_expect(at == NULL, 0)) {
                return NULL;
            }
            *at++ = '"';
            at = escape_ascii(at, layout_text_data(text, TEXT_ASCII), size);
            *at++ = '"';
            return at;
        }
    }
    return write_other_text(e, at, text, kind);
}

/* An int beyond 64 bits, in CPython's own time and within its limit of digits. */
static unsigned char *write_long_integer(struct encoder *e, unsigned char *at, PyObject *number)
{
    PyObject *text = PyNumber_ToBase(number, 10);
    Py_ssize_t size;
    const char *digits = text != NULL ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    if (digits == NULL) {
        Py_XDECREF(text);
        return fail_raised(e);
    }
    at = reserve(e, at, (size_t)size + OUTPUT_ROOM);
    if (at != NULL) {
        at = put(at, digits, (size_t)size);
    }
    Py_DECREF(text);
    return at;
}

/* An int or an instance of a subclass. */
static inline unsigned char *write_integer(struct encoder *e, unsigned char *at, PyObject *number)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return __builtin_expect(overflow == 0, 1) ? itoa_i64(at, value) : write_long_integer(e, at, number);
}

/* A float or an instance of a subclass. */
static inline unsigned char *write_float(struct encoder *e, unsigned char *at, PyObject *number)
{
    double value = layout_float(number);
    return __builtin_expect(__builtin_isfinite(value), 1) ? dtoa(at, value) : fail_number(e, value);
}

/* True, False or None; NULL without an error for anything else. */
static inline unsigned char *write_constant(unsigned char *at, PyObject *object)
{
    if (object == Py_True) {
        return put(at, "true", 4);
    }
    if (object == Py_False) {
        return put(at, "false", 5);
    }
    return object == Py_None ? put(at, "null", 4) : NULL;
}

enum outcome { WRITTEN, FAILED, NO_SCALAR };

/* `object` if it is a scalar of an exact type. On NO_SCALAR nothing has changed. */
static inline __attribute__((always_inline)) enum outcome write_scalar(struct encoder *e, unsigned char **at,
                                                                       PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    unsigned char *next;
    if (type == &PyUnicode_Type) {
        next = write_text(e, *at, object);
    } else if (type == &PyFloat_Type) {
        next = write_float(e, *at, object);
    } else if (type == &PyLong_Type) {
        next = write_integer(e, *at, object);
    } else {
        next = write_constant(*at, object);
        if (next == NULL) {
            return NO_SCALAR;
        }
    }
    *at = next;
    return __builtin_expect(next != NULL, 1) ? WRITTEN : FAILED;
}

/* bytes, bytearray or memoryview that lies in one piece. NULL with an exception if it does not. */
static unsigned char *write_bytes(struct encoder *e, unsigned char *at, PyObject *object)
{
    Py_buffer view;
    size_t size;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (!base64_size((size_t)view.len, &size) || size > PY_SSIZE_T_MAX) {
        PyBuffer_Release(&view);
        return fail_memory(e);
    }
    at = reserve(e, at, size + OUTPUT_ROOM);
    if (at != NULL) {
        *at++ = '"';
        at = base64_write(at, view.buf, (size_t)view.len);
        *at++ = '"';
    }
    PyBuffer_Release(&view);
    return at;
}

/* ---- keys ---------------------------------------------------------------------------------------------------------
 */

/* Anything but an exact str. */
static unsigned char *write_other_key(struct encoder *e, unsigned char *at, PyObject *key)
{
    if (PyUnicode_Check(key)) {
        return write_other_text(e, at, key, TEXT_UNKNOWN);
    }
    at = reserve(e, at, (size_t)2 * OUTPUT_ROOM);
    if (at == NULL) {
        return NULL;
    }
    *at++ = '"';
    unsigned char *next = write_constant(at, key);
    if (next == NULL) {
        if (PyLong_Check(key)) {
            next = write_integer(e, at, key);
        } else if (PyFloat_Check(key)) {
            next = write_float(e, at, key);
        } else {
            char name[ERROR_TYPE_SIZE];
            name_of_type(Py_TYPE(key), name, sizeof name);
            return fail(e, "TypeError", "a key must be str, int, float, bool or None, not %s", name);
        }
    }
    return next != NULL ? put(next, "\"", 1) : NULL;
}

/* A key and its colon; OUTPUT_ROOM bytes are free behind it, but for these. */
static inline unsigned char *write_key(struct encoder *e, unsigned char *at, PyObject *key)
{
    at = __builtin_expect(Py_TYPE(key) == &PyUnicode_Type, 1) ? write_text(e, at, key) : write_other_key(e, at, key);
    if (__builtin_expect(at != NULL, 1)) {
        *at++ = ':';
    }
    return at;
}

/* ---- containers ---------------------------------------------------------------------------------------------------
 */

/* The depth of the first frame that stands for the same object as one below it; the next one if there is none. */
static size_t first_repetition(const struct workspace *work)
{
    for (size_t i = 1; i < work->depth; i++) {
        for (size_t j = 0; j < i; j++) {
            if (work->frames[i].object == work->frames[j].object) {
                return i;
            }
        }
    }
    return work->depth;
}

static void frame_release(struct frame *frame)
{
    Py_XDECREF(frame->key);
    Py_DECREF(frame->items);
    Py_DECREF(frame->object);
}

/* Leaves frames until `depth` are open. Giving up a reference may run code, so each frame is taken off first. */
static void leave_frames(struct workspace *work, size_t depth)
{
    while (work->depth > depth) {
        struct frame frame = work->frames[--work->depth];
        frame_release(&frame);
    }
}

static void *fail_circular(struct encoder *e)
{
    leave_frames(e->work, first_repetition(e->work)); /* the path is to where the circle closes first */
    return fail(e, "ValueError", "circular reference");
}

/* A circle makes the same object turn up at each multiple of its length. It is compared with one frame only, that at
 * the greatest power of two so far (R. Brent, 1980): found before the depth has grown to three times the circle. */
static inline bool is_circular(const struct workspace *work, PyObject *object)
{
    size_t depth = work->depth;
    return depth > 0 && work->frames[((size_t)1 << (63 - __builtin_clzll(depth))) - 1].object == object;
}

/* Opens a container: takes the reference to `items`, and one to `object` of its own. The bracket is written. */
static unsigned char *open_frame(struct encoder *e, unsigned char *at, PyObject *object, PyObject *items,
                                 enum form form)
{
    struct workspace *work = e->work;
    if (__builtin_expect(is_circular(work, object), 0)) {
        Py_DECREF(items);
        return fail_circular(e);
    }
    if (__builtin_expect(work->depth == DEPTH_MAX, 0)) {
        Py_DECREF(items);
        return fail(e, "ValueError", "more than %d levels of nesting", DEPTH_MAX);
    }
    Py_INCREF(object);
    work->frames[work->depth++] = (struct frame){.object = object, .items = items, .form = form};
    *at++ = form <= FORM_TUPLE ? '[' : '{';
    return at;
}

/* Ends the innermost container. */
static unsigned char *close_frame(struct encoder *e, unsigned char *at)
{
    struct workspace *work = e->work;
    char bracket = work->frames[work->depth - 1].form <= FORM_TUPLE ? ']' : '}';
    at -= at[-1] == ',';
    *at++ = (unsigned char)bracket;
    leave_frames(work, work->depth - 1);
    return reserve(e, at, OUTPUT_ROOM);
}

/* Walking a container: writes values until one is no scalar, which is left in `*ret_value` as a new reference, or until
 * the end, which leaves NULL there. */

static inline void hold(PyObject **place, PyObject *object)
{
    Py_INCREF(object);
    *place = object;
}

static unsigned char *walk_list(struct encoder *e, unsigned char *at, struct frame *frame, PyObject **ret_value)
{
    PyObject *items = frame->items;
    Py_ssize_t index = frame->at;
    bool is_list = frame->form == FORM_LIST;
    while (index < Py_SIZE(items)) { /* a list may have changed since the last time */
        PyObject *value = is_list ? layout_list_item(items, index) : layout_tuple_item(items, index);
        frame->at = ++index;
        at = reserve(e, at, OUTPUT_ROOM);
        if (__builtin_expect(at == NULL, 0)) {
            return NULL;
        }
        enum outcome outcome = write_scalar(e, &at, value);
        if (__builtin_expect(outcome != WRITTEN, 0)) {
            if (outcome == NO_SCALAR) {
                hold(ret_value, value);
            }
            return at;
        }
        *at++ = ',';
    }
    return at;
}

/* One pair. True: written with its comma. False: the value is no scalar (`*ret_value`), or it failed (`*at` is NULL).
 */
static inline bool write_pair(struct encoder *e, unsigned char **at, struct frame *frame, PyObject *key,
                              PyObject *value, PyObject **ret_value)
{
    *at = write_key(e, *at, key);
    if (__builtin_expect(*at == NULL, 0)) {
        return false;
    }
    enum outcome outcome = write_scalar(e, at, value);
    if (__builtin_expect(outcome == WRITTEN, 1)) {
        *(*at)++ = ',';
        return true;
    }
    hold(&frame->key, key);
    if (outcome == NO_SCALAR) {
        hold(ret_value, value);
    }
    return false;
}

static unsigned char *walk_dict(struct encoder *e, unsigned char *at, struct frame *frame, PyObject **ret_value)
{
    PyObject *dict = frame->items, *key, *value;
    if (PyDict_Size(dict) != frame->size) {
        return fail(e, "RuntimeError", "the dict changed its size while it was written");
    }
    while (PyDict_Next(dict, &frame->at, &key, &value)) {
        if (!write_pair(e, &at, frame, key, value, ret_value)) {
            break;
        }
    }
    return at;
}

static unsigned char *walk_pairs(struct encoder *e, unsigned char *at, struct frame *frame, PyObject **ret_value)
{
    while (frame->at < PyList_Size(frame->items)) { /* nobody else has this list, but who knows gc.get_objects() */
        PyObject *pair = PyList_GetItem(frame->items, frame->at++);
        if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
            return fail(e, "ValueError", "items() of a dict subclass must give pairs");
        }
        if (!write_pair(e, &at, frame, PyTuple_GetItem(pair, 0), PyTuple_GetItem(pair, 1), ret_value)) {
            break;
        }
    }
    return at;
}

static unsigned char *walk_fields(struct encoder *e, unsigned char *at, struct frame *frame, PyObject **ret_value)
{
    while (frame->at < PyTuple_Size(frame->items)) {
        PyObject *name = PyTuple_GetItem(frame->items, frame->at++);
        PyObject *value = PyObject_GetAttr(frame->object, name);
        if (value == NULL) {
            hold(&frame->key, name);
            return fail_raised(e);
        }
        bool written = write_pair(e, &at, frame, name, value, ret_value);
        Py_DECREF(value); /* may run code, but nothing is borrowed here */
        if (!written) {
            break;
        }
    }
    return at;
}

static unsigned char *walk(struct encoder *e, unsigned char *at, PyObject **ret_value)
{
    struct frame *frame = &e->work->frames[e->work->depth - 1];
    Py_CLEAR(frame->key);
    switch (frame->form) {
    case FORM_LIST:
    case FORM_TUPLE:
        return walk_list(e, at, frame, ret_value);
    case FORM_DICT:
        return walk_dict(e, at, frame, ret_value);
    case FORM_PAIRS:
        return walk_pairs(e, at, frame, ret_value);
    case FORM_FIELDS:
        return walk_fields(e, at, frame, ret_value);
    }
    return NULL;
}

/* ---- whatever is no scalar of an exact type -----------------------------------------------------------------------
 */

static unsigned char *open_list(struct encoder *e, unsigned char *at, PyObject *object, enum form form)
{
    Py_INCREF(object);
    return open_frame(e, at, object, object, form);
}

static unsigned char *open_dict(struct encoder *e, unsigned char *at, PyObject *dict)
{
    at = open_list(e, at, dict, FORM_DICT);
    if (at != NULL) {
        e->work->frames[e->work->depth - 1].size = PyDict_Size(dict);
    }
    return at;
}

/* Opens a container that is walked by `items`: a new reference, or NULL with an exception. */
static unsigned char *open_made(struct encoder *e, unsigned char *at, PyObject *object, PyObject *items, enum form form)
{
    return items != NULL ? open_frame(e, at, object, items, form) : fail_raised(e);
}

/* A subclass decides by its items(), as with `json`: OrderedDict keeps another order than its base. */
static unsigned char *open_mapping(struct encoder *e, unsigned char *at, PyObject *dict)
{
    PyObject *items = PyObject_CallMethod(dict, "items", NULL);
    PyObject *list = items != NULL ? PySequence_List(items) : NULL;
    Py_XDECREF(items);
    return open_made(e, at, dict, list, FORM_PAIRS);
}

/* pydantic 2; mode="json" lets the model's own serialisers decide. */
static PyObject *dump_model(PyObject *model)
{
    PyObject *method = PyObject_GetAttrString(model, "model_dump");
    PyObject *none = method != NULL ? PyTuple_New(0) : NULL;
    PyObject *how = none != NULL ? Py_BuildValue("{s:s}", "mode", "json") : NULL;
    PyObject *dump = how != NULL ? PyObject_Call(method, none, how) : NULL;
    Py_XDECREF(how);
    Py_XDECREF(none);
    Py_XDECREF(method);
    return dump;
}

/* What stands for an object of one of these kinds. New reference, or NULL with an exception. */
static PyObject *stand_in(PyObject *object, enum type_kind kind)
{
    switch (kind) {
    case TYPE_MODEL:
        return dump_model(object);
    case TYPE_MODEL_1:
        return PyObject_CallMethod(object, "dict", NULL);
    case TYPE_ENUM:
        return PyObject_GetAttrString(object, "value");
    case TYPE_ISOFORMAT:
        return PyObject_CallMethod(object, "isoformat", NULL);
    case TYPE_TEXT:
        return PyObject_Str(object);
    case TYPE_BYTES: /* a memoryview in more than one piece */
        return PyObject_CallMethod(object, "tobytes", NULL);
    default:
        return PyObject_CallMethod(object, "tolist", NULL);
    }
}

/* An object whose stand-in is to be written in its place: `*ret_stand_in`, a new reference. Always NULL. */
static void *replace(struct encoder *e, PyObject *object, enum type_kind kind, PyObject **ret_stand_in)
{
    PyObject *found = stand_in(object, kind);
    if (found == NULL) {
        return fail_raised(e);
    }
    if (Py_TYPE(found) == Py_TYPE(object)) { /* a numpy.longdouble has no other form; an enum's value may be itself */
        Py_DECREF(found);
        return fail_unknown_type(e, object);
    }
    *ret_stand_in = found;
    return NULL;
}

static unsigned char *write_array(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in)
{
    struct workspace *work = e->work;
    switch (array_write(object, (int)(DEPTH_MAX - work->depth), &e->out, &at, &work->position)) {
    case ARRAY_WRITTEN:
        return at;
    case ARRAY_NOT_FINITE:
        e->in_array = true;
        return fail(e, "ValueError", "NaN and Infinity are no JSON numbers");
    case ARRAY_TOO_DEEP:
        return fail(e, "ValueError", "more than %d levels of nesting", DEPTH_MAX);
    case ARRAY_FULL:
        return NULL;
    case ARRAY_FOREIGN:
        break;
    }
    return replace(e, object, TYPE_TOLIST, ret_stand_in);
}

/* An object of a type that is not json's own. Writes it, or opens it, or leaves NULL and `*ret_stand_in`. */
static unsigned char *write_known(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in)
{
    struct type type;
    if (!types_find(object, &type)) {
        return fail_raised(e);
    }
    switch (type.kind) {
    case TYPE_UNKNOWN:
        return fail_unknown_type(e, object);
    case TYPE_STR:
        return write_other_text(e, at, object, TEXT_UNKNOWN);
    case TYPE_INT:
        return write_integer(e, at, object);
    case TYPE_FLOAT:
        return write_float(e, at, object);
    case TYPE_DICT:
        return open_mapping(e, at, object);
    case TYPE_LIST:
        return open_list(e, at, object, FORM_LIST);
    case TYPE_TUPLE:
        return open_list(e, at, object, FORM_TUPLE);
    case TYPE_FIELDS:
        return open_frame(e, at, object, type.names, FORM_FIELDS);
    case TYPE_SET:
        return open_made(e, at, object, PySequence_List(object), FORM_LIST);
    case TYPE_ARRAY:
        return write_array(e, at, object, ret_stand_in);
    case TYPE_BYTES: {
        unsigned char *next = write_bytes(e, at, object);
        if (next != NULL || e->out.status != BUFFER_OK || !PyErr_Occurred()) {
            return next;
        }
        PyErr_Clear();
        return replace(e, object, type.kind, ret_stand_in);
    }
    default:
        return replace(e, object, type.kind, ret_stand_in);
    }
}

/* Any object; takes the reference. OUTPUT_ROOM bytes are free at the place. Writes a scalar; opens a container. */
static unsigned char *write_value(struct encoder *e, unsigned char *at, PyObject *object)
{
    unsigned char *next = NULL;
    for (int conversions = 0;; conversions++) {
        PyTypeObject *type = Py_TYPE(object);
        PyObject *replacement = NULL;
        if (type == &PyDict_Type) {
            next = open_dict(e, at, object);
        } else if (type == &PyList_Type || type == &PyTuple_Type) {
            next = open_list(e, at, object, type == &PyList_Type ? FORM_LIST : FORM_TUPLE);
        } else {
            next = at;
            if (write_scalar(e, &next, object) == NO_SCALAR) {
                next = write_known(e, at, object, &replacement);
            }
        }
        if (replacement == NULL || conversions == CONVERSIONS_MAX) {
            if (replacement != NULL) {
                Py_DECREF(replacement);
                fail(e, "ValueError", "what stands for the object has something standing for it, again and again");
            }
            Py_DECREF(object);
            return next != NULL ? reserve(e, next, OUTPUT_ROOM) : NULL;
        }
        Py_DECREF(object);
        object = replacement;
    }
}

static unsigned char *write_document(struct encoder *e, unsigned char *at, PyObject *object)
{
    Py_INCREF(object);
    at = write_value(e, at, object);
    while (at != NULL && e->work->depth > 0) {
        size_t depth = e->work->depth;
        PyObject *value = NULL;
        at = walk(e, at, &value);
        if (at == NULL) {
            break;
        }
        at = value != NULL ? write_value(e, at, value) : close_frame(e, at);
        if (at != NULL && e->work->depth <= depth && e->work->depth > 0) { /* not one that was opened just now */
            *at++ = ',';
        }
    }
    return at;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------
 */

static struct workspace *workspace_take(void)
{
    struct workspace *work = spare;
    spare = NULL;
    if (work == NULL && (work = malloc(sizeof *work)) != NULL) {
        work->depth = 0;
    }
    return work;
}

static void workspace_release(struct workspace *work)
{
    leave_frames(work, 0);
    if (spare == NULL) {
        spare = work;
    } else {
        free(work);
    }
}

/* The way from the root to where the error happened. */
static void describe(const struct encoder *e, const char *root, char text[PATH_SIZE])
{
    struct path path;
    path_begin(&path, root);
    for (size_t i = 0; i < e->work->depth && !e->whole; i++) {
        const struct frame *frame = &e->work->frames[i];
        if (frame->key != NULL) {
            path_add_key(&path, frame->key);
        } else if (frame->form <= FORM_TUPLE && frame->at > 0) {
            path_add_index(&path, frame->at - 1);
        }
    }
    for (int i = 0; e->in_array && i < e->work->position.dimensions; i++) {
        path_add_index(&path, e->work->position.index[i]);
    }
    path_text(&path, text);
}

/* Puts the path before the text of an error. */
static void add_path(struct encoder *e, const char *root)
{
    char path[PATH_SIZE], type[ERROR_TYPE_SIZE], text[ERROR_TEXT_SIZE];
    if (e->err == NULL || e->err->category != ERR_PROCESSING) {
        return;
    }
    describe(e, root, path);
    memcpy(type, e->err->type, sizeof type);
    memcpy(text, e->err->text, sizeof text);
    error_set_processing(e->err, type, "%s: %s", path, text);
}

static void fail_output(struct encoder *e)
{
    if (e->out.status == BUFFER_NO_MEMORY) {
        fail_memory(e);
    } else {
        e->whole = true;
        fail(e, "ValueError", "the JSON text is larger than %zu bytes", e->out.limit);
    }
}

bool encode(PyObject *object, const char *root, struct buffer *out, struct error *err)
{
    struct encoder e = {.err = err, .work = workspace_take()};
    if (e.work == NULL) {
        fail_memory(&e);
        return false;
    }
    unsigned char *at = output_open(&e.out, out);
    at = at != NULL ? reserve(&e, at, OUTPUT_ROOM) : NULL;
    at = at != NULL ? write_document(&e, at, object) : NULL;
    bool taken = output_close(&e.out, at);
    if (!taken) {
        if (e.out.status != BUFFER_OK) {
            fail_output(&e);
        }
        add_path(&e, root);
    }
    workspace_release(e.work);
    return taken;
}

bool encode_init(void)
{
    layout_init();
    return true;
}
