/*
 * One loop with a stack of its own, so nesting costs no C stack:
 *
 *     value --- scalar ------------------------> written --- top level ---> done
 *       ^  `--- container: opened, "[" --> walk      |
 *       |                                  ^  |      |
 *       |                                  |  `- end: closed, "]"
 *       `----- one that is no scalar <-----'<--------'
 *
 * Walking writes the scalars of a container without leaving it. Behind every value in a container stands a comma; the
 * end of the container overwrites the last one. Nothing is kept for error texts while all goes well: the path to a
 * culprit is read from the stack.
 *
 * No code but ours runs while a scalar is written, so it is only borrowed. Whatever is not a scalar of an exact type
 * may run code that changes every container around it: it is held, and so are the containers and the keys on the way.
 */
#include "codec/encode.h"

#include "codec/frames.h"
#include "codec/known.h"
#include "codec/scalar.h"

#include <stdlib.h>

enum { STAND_INS_MAX = 32 }; /* an object that stands for another, that stands for another, ... */

/* Kept between calls, and owned by one call at a time. */
static struct workspace *spare;

static inline PyObject *held(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

/* Walking the innermost container: writes values until one is no scalar, which is left in `*ret_value` as a new
 * reference, or until the end, which leaves it as it is. */

static inline __attribute__((always_inline)) unsigned char *
walk_list(struct encoder *e, unsigned char *at, struct frame *frame, bool is_list, PyObject **ret_value)
{
    PyObject *items = frame->items;
    while (frame->at < Py_SIZE(items)) { /* a list may have changed since the last time */
        PyObject *value = is_list ? layout_list_item(items, frame->at) : layout_tuple_item(items, frame->at);
        frame->at++;
        at = encoder_reserve(e, at, OUTPUT_ROOM);
        if (__builtin_expect(at == NULL, 0)) {
            return NULL;
        }
        enum scalar_outcome outcome = scalar_write(e, &at, value);
        if (outcome != SCALAR_WRITTEN) {
            *ret_value = outcome == SCALAR_NONE ? held(value) : NULL;
            return at;
        }
        *at++ = ',';
    }
    return at;
}

/* One pair. True: written with its comma. False: the value is no scalar (`*ret_value`), or it failed (`*at` is NULL).
 */
static inline __attribute__((always_inline)) bool write_pair(struct encoder *e, unsigned char **at, struct frame *frame,
                                                             PyObject *key, PyObject *value, PyObject **ret_value)
{
    *at = scalar_key(e, *at, key);
    if (__builtin_expect(*at == NULL, 0)) {
        return false;
    }
    enum scalar_outcome outcome = scalar_write(e, at, value);
    if (outcome == SCALAR_WRITTEN) {
        *(*at)++ = ',';
        return true;
    }
    frame->key = held(key);
    *ret_value = outcome == SCALAR_NONE ? held(value) : NULL;
    return false;
}

/* PyDict_Next copes with a dict that was changed in between: it may miss items, no more. */
static inline __attribute__((always_inline)) unsigned char *walk_dict(struct encoder *e, unsigned char *at,
                                                                      struct frame *frame, PyObject **ret_value)
{
    PyObject *key, *value;
    while (PyDict_Next(frame->items, &frame->at, &key, &value)) {
        if (!write_pair(e, &at, frame, key, value, ret_value)) {
            break;
        }
    }
    return at;
}

static unsigned char *walk_pairs(struct encoder *e, unsigned char *at, struct frame *frame, PyObject **ret_value)
{
    while (frame->at < PyList_Size(frame->items)) {
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
            frame->key = held(name);
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

static inline __attribute__((always_inline)) unsigned char *walk(struct encoder *e, unsigned char *at,
                                                                 PyObject **ret_value)
{
    struct frame *frame = &e->work->frames[e->work->depth - 1];
    Py_CLEAR(frame->key);
    switch (frame->form) {
    case FORM_LIST:
        return walk_list(e, at, frame, true, ret_value);
    case FORM_TUPLE:
        return walk_list(e, at, frame, false, ret_value);
    case FORM_DICT:
        return walk_dict(e, at, frame, ret_value);
    case FORM_PAIRS:
        return walk_pairs(e, at, frame, ret_value);
    case FORM_FIELDS:
        return walk_fields(e, at, frame, ret_value);
    }
    return NULL;
}

/* Whatever is no exact dict, list or tuple; takes the reference. Writes a scalar; opens a container. */
static unsigned char *write_other(struct encoder *e, unsigned char *at, PyObject *object);

/* Any object; takes the reference. OUTPUT_ROOM bytes are free at the place and, but for punctuation, behind it. */
static inline unsigned char *write_value(struct encoder *e, unsigned char *at, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyDict_Type) {
        return frames_open(e, at, object, object, FORM_DICT);
    }
    if (type == &PyList_Type || type == &PyTuple_Type) {
        return frames_open(e, at, object, object, type == &PyList_Type ? FORM_LIST : FORM_TUPLE);
    }
    return write_other(e, at, object);
}

static unsigned char *write_other(struct encoder *e, unsigned char *at, PyObject *object)
{
    for (int stand_ins = 0; stand_ins < STAND_INS_MAX; stand_ins++) {
        PyTypeObject *type = Py_TYPE(object);
        if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type) {
            return write_value(e, at, object);
        }
        PyObject *stand_in = NULL;
        unsigned char *next = at;
        if (scalar_write(e, &next, object) == SCALAR_NONE) {
            next = known_write(e, at, object, &stand_in);
        }
        Py_DECREF(object);
        if (stand_in == NULL) {
            return next != NULL ? encoder_reserve(e, next, OUTPUT_ROOM) : NULL;
        }
        object = stand_in;
    }
    Py_DECREF(object);
    return fail(e, "ValueError", "an object stands for another, and that for another, without end");
}

static unsigned char *write_document(struct encoder *e, unsigned char *at, PyObject *object)
{
    struct workspace *work = e->work;
    at = write_value(e, at, held(object));
    while (at != NULL && work->depth > 0) {
        size_t depth = work->depth;
        PyObject *value = NULL;
        at = walk(e, at, &value);
        if (__builtin_expect(at == NULL, 0)) {
            break;
        }
        at = value != NULL ? write_value(e, at, value) : frames_close(e, at);
        if (at != NULL && work->depth <= depth && work->depth > 0) { /* not behind an opening bracket */
            *at++ = ',';
        }
    }
    return at;
}

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
    frames_leave(work, 0);
    if (spare == NULL) {
        spare = work;
    } else {
        free(work);
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
    at = at != NULL ? encoder_reserve(&e, at, OUTPUT_ROOM) : NULL;
    at = at != NULL ? write_document(&e, at, object) : NULL;
    bool taken = output_close(&e.out, at);
    if (!taken) {
        encoder_explain(&e, root);
    }
    workspace_release(e.work);
    return taken;
}

bool encode_init(void)
{
    layout_init();
    return true;
}
