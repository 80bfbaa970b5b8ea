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
 * Whatever is not of an exact json type may run code that changes every container around it: before that the stack is
 * pinned (codec/frames.h).
 */
#include "codec/encode.h"

#include "codec/frames.h"
#include "codec/known.h"
#include "codec/scalar.h"

#include <stdlib.h>

enum { STAND_INS_MAX = 32 }; /* an object that stands for another, that stands for another, ... */

/* Kept between calls, and owned by one call at a time. */
static struct workspace *spare;

/* Of the exact dict, list and tuple. */
static inline enum form form_of(PyTypeObject *type)
{
    return type == &PyDict_Type ? FORM_DICT : type == &PyList_Type ? FORM_LIST : FORM_TUPLE;
}

/* How walking the innermost container stopped. */
enum walk {
    WALK_END,    /* all is written */
    WALK_VALUE,  /* at a value that is no scalar of an exact type, in `*ret_value`, borrowed */
    WALK_OPENED, /* the value was opened */
    WALK_FAILED,
};

/* The place to write at is copied from and to `*at_place` once, so that it lives in a register. */
static inline __attribute__((always_inline)) enum walk
walk_list(struct encoder *e, unsigned char **at_place, struct frame *frame, bool is_list, PyObject **ret_value)
{
    PyObject *items = frame->items;
    unsigned char *at = *at_place;
    enum scalar_outcome outcome = SCALAR_WRITTEN;
    while (frame->at < Py_SIZE(items)) { /* a list may have changed since the last time */
        PyObject *value = is_list ? layout_list_item(items, frame->at) : layout_tuple_item(items, frame->at);
        frame->at++;
        at = encoder_room(e, at);
        if (__builtin_expect(at == NULL, 0)) {
            return WALK_FAILED;
        }
        outcome = scalar_write(e, &at, value);
        if (outcome != SCALAR_WRITTEN) {
            *ret_value = value;
            break;
        }
        *at++ = ',';
    }
    *at_place = at;
    return outcome == SCALAR_WRITTEN ? WALK_END : outcome == SCALAR_NONE ? WALK_VALUE : WALK_FAILED;
}

/* Writes the key, and the value if it is a scalar. */
static inline __attribute__((always_inline)) enum scalar_outcome
write_pair(struct encoder *e, unsigned char **at, struct frame *frame, PyObject *key, PyObject *value)
{
    *at = scalar_key(e, *at, key);
    frames_set_key(frame, *at != NULL ? key : NULL);
    if (__builtin_expect(*at == NULL, 0)) {
        return SCALAR_FAILED;
    }
    enum scalar_outcome outcome = scalar_write(e, at, value);
    if (outcome == SCALAR_WRITTEN) {
        *(*at)++ = ',';
    }
    return outcome;
}

/* The same with a key that is no exact str: such a one may have code of its own that gives up key and value. */
static enum scalar_outcome write_other_pair(struct encoder *e, unsigned char **at, struct frame *frame, PyObject *key,
                                            PyObject *value)
{
    frames_pin(e->work);
    Py_INCREF(key);
    Py_INCREF(value);
    enum scalar_outcome outcome = write_pair(e, at, frame, key, value);
    Py_DECREF(value); /* the container still has them: nothing has run if the outcome is SCALAR_NONE */
    Py_DECREF(key);
    return outcome;
}

/* PyDict_Next copes with a dict that was changed in between: it may miss items, no more. */
static inline __attribute__((always_inline)) enum walk walk_dict(struct encoder *e, unsigned char **at_place,
                                                                 struct frame *frame, PyObject **ret_value)
{
    PyObject *key, *value;
    unsigned char *at = *at_place;
    enum scalar_outcome outcome = SCALAR_WRITTEN;
    while (PyDict_Next(frame->items, &frame->at, &key, &value)) {
        at = encoder_room(e, at);
        if (__builtin_expect(at == NULL, 0)) {
            return WALK_FAILED;
        }
        if (__builtin_expect(Py_TYPE(key) == &PyUnicode_Type, 1)) {
            outcome = write_pair(e, &at, frame, key, value);
        } else {
            unsigned char *next = at; /* an address that leaves this function */
            outcome = write_other_pair(e, &next, frame, key, value);
            at = next;
        }
        if (outcome != SCALAR_WRITTEN) {
            *ret_value = value;
            break;
        }
    }
    *at_place = at;
    return outcome == SCALAR_WRITTEN ? WALK_END : outcome == SCALAR_NONE ? WALK_VALUE : WALK_FAILED;
}

static enum walk walk_pairs(struct encoder *e, unsigned char **at, struct frame *frame, PyObject **ret_value)
{
    while (frame->at < PyList_Size(frame->items)) {
        PyObject *pair = PyList_GetItem(frame->items, frame->at++); /* borrowed from a list that is ours alone */
        if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
            frames_set_key(frame, NULL);
            fail(e, "ValueError", "items() of a dict subclass must give pairs");
            return WALK_FAILED;
        }
        PyObject *value = PyTuple_GetItem(pair, 1);
        *at = encoder_room(e, *at);
        if (*at == NULL) {
            return WALK_FAILED;
        }
        enum scalar_outcome outcome = write_other_pair(e, at, frame, PyTuple_GetItem(pair, 0), value);
        if (outcome != SCALAR_WRITTEN) {
            *ret_value = value;
            return outcome == SCALAR_NONE ? WALK_VALUE : WALK_FAILED;
        }
    }
    return WALK_END;
}

static unsigned char *write_owned(struct encoder *e, unsigned char *at, PyObject *object);

/* Attributes belong to nobody we know of, so they are written, or opened, from here. */
static enum walk walk_fields(struct encoder *e, unsigned char **at, struct frame *frame)
{
    size_t depth = e->work->depth;
    while (frame->at < PyTuple_Size(frame->items)) {
        PyObject *name = PyTuple_GetItem(frame->items, frame->at++);
        frames_set_key(frame, name);
        PyObject *value = PyObject_GetAttr(frame->object, name);
        if (value == NULL) {
            fail_raised(e);
            return WALK_FAILED;
        }
        *at = encoder_room(e, *at);
        *at = *at != NULL ? scalar_key(e, *at, name) : NULL;
        if (*at == NULL) {
            Py_DECREF(value);
            return WALK_FAILED;
        }
        *at = write_owned(e, *at, value);
        if (*at == NULL) {
            return WALK_FAILED;
        }
        if (e->work->depth > depth) {
            return WALK_OPENED;
        }
        *(*at)++ = ',';
    }
    return WALK_END;
}

static inline __attribute__((always_inline)) enum walk walk(struct encoder *e, unsigned char **at, PyObject **ret_value)
{
    struct frame *frame = &e->work->frames[e->work->depth - 1];
    if (frame->form == FORM_DICT) { /* ifs, not a switch, which would be mispredicted more often */
        return walk_dict(e, at, frame, ret_value);
    }
    if (frame->form == FORM_LIST) {
        return walk_list(e, at, frame, true, ret_value);
    }
    if (frame->form == FORM_TUPLE) {
        return walk_list(e, at, frame, false, ret_value);
    }
    return frame->form == FORM_PAIRS ? walk_pairs(e, at, frame, ret_value) : walk_fields(e, at, frame);
}

/* Any object; takes the reference, and pins the stack. OUTPUT_ROOM bytes are free behind it, and at the place, but for
 * a key. Writes a scalar; opens a container. */
static unsigned char *write_owned(struct encoder *e, unsigned char *at, PyObject *object)
{
    frames_pin(e->work);
    for (int stand_ins = 0; stand_ins < STAND_INS_MAX; stand_ins++) {
        PyTypeObject *type = Py_TYPE(object);
        if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type) {
            Py_INCREF(object);
            return frames_open_owned(e, at, object, object, form_of(type));
        }
        PyObject *stand_in = NULL;
        unsigned char *next = at;
        if (scalar_write(e, &next, object) == SCALAR_NONE) {
            next = known_write(e, at, object, &stand_in);
        }
        Py_DECREF(object);
        if (stand_in == NULL) {
            return next != NULL ? encoder_room(e, next) : NULL;
        }
        object = stand_in;
    }
    Py_DECREF(object);
    return fail(e, "ValueError", "an object stands for another, and that for another, without end");
}

/* Any object that is held by a container on the stack or by the caller. Otherwise as write_owned. */
static inline unsigned char *write_borrowed(struct encoder *e, unsigned char *at, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type) {
        return frames_open(e, at, object, form_of(type));
    }
    Py_INCREF(object);
    return write_owned(e, at, object);
}

static unsigned char *write_document(struct encoder *e, unsigned char *at, PyObject *object)
{
    struct workspace *work = e->work;
    at = write_borrowed(e, at, object);
    while (at != NULL && work->depth > 0) {
        size_t depth = work->depth;
        PyObject *value = NULL;
        switch (walk(e, &at, &value)) {
        case WALK_END:
            at = frames_close(e, at);
            break;
        case WALK_VALUE:
            at = write_borrowed(e, at, value);
            break;
        case WALK_OPENED:
            break;
        case WALK_FAILED:
            return NULL;
        }
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
        work->depth = work->pinned = 0;
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
