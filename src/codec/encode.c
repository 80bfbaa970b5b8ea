/*
 * One loop with a stack of its own, so nesting costs no C stack:
 *
 *     value --- scalar --------------> written, "," --- top level ---> done
 *       ^  `--- container: opened, "["   |       ^
 *       |                          |     |       |
 *       |                          v     v       |
 *       `-- another one <--- the innermost open container --- end: closed, "]"
 *
 * Behind every value in a container stands a comma; the end of the container overwrites the last one. Nothing is kept
 * for error texts while all goes well: the path to a culprit is read from the stack.
 *
 * Whatever is not of an exact json type may run code that changes every container around it: before that the stack is
 * pinned, and open dicts are copied (codec/frames.h).
 */
#include "codec/encode.h"

#include "codec/frames.h"
#include "codec/known.h"
#include "codec/scalar.h"

#include <stdlib.h>

#define NOINLINE      __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { STAND_INS_MAX = 32 }; /* an object that stands for another, that stands for another, ... */

/* Kept between calls, and owned by one call at a time. */
static struct workspace *spare;

/* Of the exact dict, list and tuple. */
static inline enum form encode_form_of(PyTypeObject *type)
{
    return type == &PyDict_Type ? FORM_DICT : type == &PyList_Type ? FORM_LIST : FORM_TUPLE;
}

/* Any object; takes the reference, and pins the stack. OUTPUT_ROOM bytes are free behind it, and at the place, but for
 * a key. Writes a scalar; opens a container. */
static NOINLINE unsigned char *encode_write_owned(struct encoder *e, unsigned char *at, PyObject *object)
{
    if (!frames_secure(e->work)) {
        Py_DECREF(object);
        return encoder_fail_raised(e);
    }
    for (int stand_ins = 0; stand_ins < STAND_INS_MAX; stand_ins++) {
        PyTypeObject *type = Py_TYPE(object);
        if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type) {
            Py_INCREF(object);
            return frames_open_owned(e, at, object, object, encode_form_of(type));
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
    return encoder_fail(e, "ValueError", "an object stands for another, and that for another, without end");
}

/* Any object that is held by a container on the stack or by the caller. Otherwise as write_owned. */
static inline unsigned char *encode_write_borrowed(struct encoder *e, unsigned char *at, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type) {
        return frames_open(e, at, object, encode_form_of(type));
    }
    Py_INCREF(object);
    return encode_write_owned(e, at, object);
}

/* Writes the key of a pair that a list of our own holds. The value as a new reference, or NULL, and so `*at`. */
static PyObject *encode_next_member(struct encoder *e, unsigned char **at, struct frame *frame, PyObject *key,
                                    PyObject *value)
{
    *at = scalar_key(e, *at, key);
    if (*at == NULL && e->odd_key != NULL) {
        *at = known_key(e, key);
    }
    if (*at == NULL) {
        return NULL;
    }
    frames_set_key(frame, key);
    Py_INCREF(value);
    return value;
}

/* The next pair of a dict subclass: writes the key; the value is a new reference. NULL at the end, and on failure,
 * where
 * `*at` is NULL as well. */
static PyObject *encode_next_pair(struct encoder *e, unsigned char **at, struct frame *frame)
{
    if (frame->at == PyList_Size(frame->items)) {
        return NULL;
    }
    PyObject *pair = PyList_GetItem(frame->items, frame->at++); /* borrowed from a list that is ours alone */
    frames_set_key(frame, NULL);
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        *at = encoder_fail(e, "ValueError", "items() of a dict subclass must give pairs");
        return NULL;
    }
    return encode_next_member(e, at, frame, PyTuple_GetItem(pair, 0), PyTuple_GetItem(pair, 1));
}

/* The same for the next pair of a dict that was copied. */
static PyObject *encode_next_copied(struct encoder *e, unsigned char **at, struct frame *frame)
{
    Py_ssize_t index = frame->at;
    if (index == PyList_Size(frame->items)) {
        return NULL;
    }
    frame->at += 2;
    frames_set_key(frame, NULL);
    return encode_next_member(e, at, frame, PyList_GetItem(frame->items, index),
                              PyList_GetItem(frame->items, index + 1));
}

/* The same for the next attribute of an object of fields. */
static PyObject *encode_next_field(struct encoder *e, unsigned char **at, struct frame *frame)
{
    if (frame->at == PyTuple_Size(frame->items)) {
        return NULL;
    }
    PyObject *name = PyTuple_GetItem(frame->items, frame->at++);
    frames_set_key(frame, name);
    PyObject *value = PyObject_GetAttr(frame->object, name);
    *at = value != NULL ? scalar_key(e, *at, name) : encoder_fail_raised(e);
    if (*at == NULL) {
        Py_CLEAR(value);
    }
    return value;
}

/* Writes the next value of a container that is walked with references, or opens it. `*ret_end`: there is none. */
static NOINLINE unsigned char *encode_write_next(struct encoder *e, unsigned char *at, struct frame *frame,
                                                 bool *ret_end)
{
    PyObject *value = frame->form == FORM_COPY    ? encode_next_copied(e, &at, frame)
                      : frame->form == FORM_PAIRS ? encode_next_pair(e, &at, frame)
                                                  : encode_next_field(e, &at, frame);
    *ret_end = value == NULL && at != NULL;
    return value != NULL ? encode_write_owned(e, at, value) : at;
}

/* The key of this pair has failed, or runs code: then the walk goes on in a copy that begins with the pair. */
static NOINLINE void encode_set_aside(struct encoder *e, struct frame *frame, PyObject *key, PyObject *value)
{
    frames_set_key(frame, NULL);
    if (e->odd_key != NULL && !frames_copy_from(e->work, key, value)) {
        e->odd_key = NULL;
        encoder_fail_raised(e);
    }
}

/* What is left of an exact dict, list or tuple. Kept apart from its frame: read there, it would be read again for each
 * value, since bytes written at the place could be the frame for all the compiler knows. Means nothing once code of
 * others may have run: then a list may be another. */
struct rest {
    struct frame *frame;
    PyObject *const *values; /* NULL for a dict, and where functions must be asked for them */
    Py_ssize_t index, size;  /* size is 0 for a dict */
};

static inline struct rest encode_rest_of(struct frame *frame)
{
    struct rest rest = {.frame = frame, .index = frame->at};
    if (frame->form != FORM_DICT) {
        rest.size = Py_SIZE(frame->items);
        rest.values = frame->form == FORM_LIST ? layout_list_values(frame->items) : layout_tuple_values(frame->items);
    }
    return rest;
}

/* The next value, borrowed, behind its key; NULL at the end, and on failure, where `*at` is NULL as well. */
static ALWAYS_INLINE PyObject *encode_next_borrowed(struct encoder *e, unsigned char **at, struct rest *rest)
{
    struct frame *frame = rest->frame;
    if (rest->index < rest->size) {
        Py_ssize_t index = rest->index++;
        return __builtin_expect(rest->values != NULL, 1) ? rest->values[index]
               : frame->form == FORM_LIST                ? PyList_GetItem(frame->items, index)
                                                         : PyTuple_GetItem(frame->items, index);
    }
    PyObject *key, *value;
    if (frame->form != FORM_DICT || !PyDict_Next(frame->items, &frame->at, &key, &value)) {
        return NULL;
    }
    *at = scalar_key(e, *at, key); /* runs no code of others unless it fails */
    if (__builtin_expect(*at == NULL, 0)) {
        encode_set_aside(e, frame, key, value);
        return NULL;
    }
    frames_set_key(frame, key);
    return value;
}

/* Opens a container of which something is written already, its bracket at least. */
static inline struct frame *encode_push(struct encoder *e, PyObject *object, enum form form, Py_ssize_t at)
{
    if (__builtin_expect(frames_cannot_open(e->work, object), 0)) {
        return frames_refuse(e, object);
    }
    struct frame *frame = &e->work->frames[e->work->depth++];
    *frame = (struct frame){.object = object, .items = object, .at = at, .form = form};
    return frame;
}

/* An exact list or tuple in one that is open, as far as it holds scalars. Most hold nothing else, and then nothing is
 * opened. `*ret_rest` is what is left to be walked. */
static ALWAYS_INLINE unsigned char *encode_write_list(struct encoder *e, unsigned char *at, PyObject **value,
                                                      enum form form, struct rest *rest)
{
    PyObject *list = *value;
    PyObject *const *values = form == FORM_LIST ? layout_list_values(list) : layout_tuple_values(list);
    Py_ssize_t index = 0, size = Py_SIZE(list);
    enum scalar_outcome outcome = values != NULL || size == 0 ? SCALAR_WRITTEN : SCALAR_NONE;
    *at++ = '[';
    for (; outcome == SCALAR_WRITTEN && index < size; index++) {
        outcome = scalar_write(e, &at, values[index]);
        if (__builtin_expect(outcome != SCALAR_WRITTEN, 0)) {
            break;
        }
        *at++ = ',';
        if (__builtin_expect((at = encoder_room(e, at)) == NULL, 0)) {
            return NULL;
        }
    }
    if (__builtin_expect(outcome == SCALAR_WRITTEN, 1)) {
        at -= size > 0;
        *at++ = ']';
        *at++ = ',';
        *value = NULL;
        return at;
    }
    bool has_value = outcome == SCALAR_FAILED || values != NULL;
    struct frame *frame = encode_push(e, list, form, has_value ? index + 1 : 0);
    if (frame == NULL || outcome == SCALAR_FAILED) {
        return NULL;
    }
    *rest = encode_rest_of(frame);
    *value = has_value ? values[index] : NULL;
    return at;
}

/* The same of an exact dict, as far as its keys are exact str as well. */
static ALWAYS_INLINE unsigned char *encode_write_dict(struct encoder *e, unsigned char *at, PyObject **value,
                                                      struct rest *rest)
{
    PyObject *dict = *value, *key, *next;
    Py_ssize_t place = 0, former = 0;
    enum scalar_outcome outcome = SCALAR_WRITTEN;
    *at++ = '{';
    while (PyDict_Next(dict, &place, &key, &next)) {
        if (__builtin_expect(Py_TYPE(key) != &PyUnicode_Type, 0)) {
            key = next = NULL;
            place = former;
            outcome = SCALAR_NONE;
            break;
        }
        if (__builtin_expect((at = scalar_key(e, at, key)) == NULL, 0)) {
            return NULL;
        }
        outcome = scalar_write(e, &at, next);
        if (__builtin_expect(outcome != SCALAR_WRITTEN, 0)) {
            break;
        }
        *at++ = ',';
        former = place;
        if (__builtin_expect((at = encoder_room(e, at)) == NULL, 0)) {
            return NULL;
        }
    }
    if (__builtin_expect(outcome == SCALAR_WRITTEN, 1)) {
        at -= place > 0;
        *at++ = '}';
        *at++ = ',';
        *value = NULL;
        return at;
    }
    struct frame *frame = encode_push(e, dict, FORM_DICT, place);
    if (frame == NULL) {
        return NULL;
    }
    frame->key = key;
    *rest = encode_rest_of(frame);
    *value = next;
    return outcome == SCALAR_NONE ? at : NULL;
}

/* The place in a list is noted only where somebody may ask for it. */
static inline void encode_note_place(const struct rest *rest)
{
    if (rest->frame->form != FORM_DICT) {
        rest->frame->at = rest->index;
    }
}

/* A value that is no scalar, or none that can be written at once. `*rest` is what is to be walked next, without a frame
 * if code of others may have run; `*value` the value of it that comes first, if its turn has come already: such another
 * one. */
static ALWAYS_INLINE unsigned char *encode_enter(struct encoder *e, unsigned char *at, PyObject **value,
                                                 struct rest *rest)
{
    PyTypeObject *type = Py_TYPE(*value);
    struct frame *frame = rest->frame;
    encode_note_place(rest);
    bool can_open = e->work->depth < ENCODER_DEPTH_MAX;
    if (type == &PyDict_Type && can_open) {
        return encode_write_dict(e, at, value, rest);
    }
    if ((type == &PyList_Type || type == &PyTuple_Type) && can_open) {
        return encode_write_list(e, at, value, encode_form_of(type), rest);
    }
    at = encode_write_borrowed(e, at, *value);
    if (at != NULL && &e->work->frames[e->work->depth - 1] == frame) {
        *at++ = ',';
    }
    rest->frame = NULL;
    *value = NULL;
    return at;
}

/* Walks the innermost container, an exact dict, list or tuple, all such ones in it, and those around it. Returns where
 * code of others may have run, where a container of another form goes on, and at the end. */
static unsigned char *encode_walk(struct encoder *e, unsigned char *at)
{
    struct workspace *work = e->work;
    struct rest rest = encode_rest_of(&work->frames[work->depth - 1]);
    do {
        PyObject *value = encode_next_borrowed(e, &at, &rest);
        if (value != NULL) {
            enum scalar_outcome outcome = scalar_write(e, &at, value);
            if (__builtin_expect(outcome == SCALAR_WRITTEN, 1)) {
                *at++ = ',';
            } else if (__builtin_expect(outcome == SCALAR_FAILED, 0)) {
                encode_note_place(&rest);
                return NULL;
            } else {
                while ((at = encode_enter(e, at, &value, &rest)) != NULL && value != NULL) {
                    if ((at = encoder_room(e, at)) == NULL) {
                        return NULL;
                    }
                }
            }
        } else if (at != NULL) {
            bool is_owned = rest.frame->owned;
            at = frames_close(work, at);
            if (work->depth == 0) {
                return at;
            }
            *at++ = ',';
            if (is_owned || rest.frame[-1].form > FORM_DICT) {
                rest.frame = NULL;
            } else {
                rest = encode_rest_of(rest.frame - 1);
            }
        }
        at = at != NULL ? encoder_room(e, at) : NULL;
    } while (at != NULL && rest.frame != NULL);
    return at;
}

/* Writes all that is in the containers on the stack, and leaves them. */
static unsigned char *encode_write_open(struct encoder *e, unsigned char *at)
{
    struct workspace *work = e->work;
    while (work->depth > 0) {
        size_t depth = work->depth;
        struct frame *frame = &work->frames[depth - 1];
        if (frame->form <= FORM_DICT) {
            at = encode_walk(e, at);
        } else {
            bool end;
            at = encode_write_next(e, at, frame, &end);
            if (end) {
                at = frames_close(work, at);
            }
            if (at != NULL && work->depth > 0 && work->depth <= depth) { /* not behind an opening bracket */
                *at++ = ',';
            }
            at = at != NULL ? encoder_room(e, at) : NULL;
        }
        if (__builtin_expect(at == NULL, 0)) {
            if (e->odd_key == NULL) {
                return NULL;
            }
            at = e->odd_key; /* once more, in the copy */
            e->odd_key = NULL;
        }
    }
    return at;
}

static unsigned char *encode_write_document(struct encoder *e, unsigned char *at, PyObject *object)
{
    at = encode_write_borrowed(e, at, object);
    return at != NULL && e->work->depth > 0 ? encode_write_open(e, at) : at;
}

static struct workspace *encode_workspace_take(void)
{
    struct workspace *work = spare;
    spare = NULL;
    if (work == NULL && (work = malloc(sizeof *work)) != NULL) {
        work->depth = work->pinned = work->secure = 0;
    }
    return work;
}

static void encode_workspace_release(struct workspace *work)
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
    struct encoder e = {.err = err, .work = encode_workspace_take()};
    if (e.work == NULL) {
        encoder_fail_memory(&e);
        return false;
    }
    unsigned char *at = output_open(&e.out, out);
    at = at != NULL ? encode_write_document(&e, at, object) : NULL;
    bool taken = output_close(&e.out, at);
    if (!taken) {
        frames_pin(e.work); /* the text names the keys on the way, and str() of one may run code */
        encoder_explain(&e, root);
    }
    encode_workspace_release(e.work);
    if (e.raised != NULL) {
        PyObject *type = (PyObject *)Py_TYPE(e.raised);
        Py_INCREF(type);
        PyErr_Restore(type, e.raised, PyException_GetTraceback(e.raised));
    }
    return taken;
}

bool encode_init(void)
{
    layout_init();
    return true;
}
