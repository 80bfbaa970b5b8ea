/*
 * The encoder's stack: which containers are open. Refuses circles and too many levels.
 *
 * Writing scalars runs no code of others, so what is reached from the result by exact dicts, lists and tuples stays
 * alive by itself and is only borrowed: the reference counts of a large result are not even touched. Before anything
 * that may run code the whole stack is pinned: from then on it owns what is on it, since that code may change every
 * container. Frames below `pinned` are owned, those from there on are borrowed.
 *
 * While code runs another thread may change a dict that is open: a walk by PyDict_Next would give some members twice
 * and leave others out. So before that what is left of each open dict is copied, all at one moment: the reply says what
 * the dict held then. Frames below `secure` have been looked at. (A list that changes is walked by index, as json
 * does.)
 *
 * Internal to the encoder.
 */
#ifndef ASYA_CODEC_FRAMES_H
#define ASYA_CODEC_FRAMES_H

#include "codec/encoder.h"

/* Takes references to all that is on the stack. Cheap if that has happened before. */
void frames_pin(struct workspace *work);

/* The same, and copies what is left of the dicts among them. False with a Python exception if there is no memory. */
bool frames_secure_rest(struct workspace *work);

static inline bool frames_secure(struct workspace *work)
{
    return __builtin_expect(work->secure == work->depth, 1) || frames_secure_rest(work);
}

/* Makes the dict of the innermost frame a copy that begins with this pair (borrowed), which the walk has passed. False
 * with a Python exception if there is no memory. */
bool frames_copy_from(struct workspace *work, PyObject *key, PyObject *value);

/* Leaves frames until `depth` are open. May run code if they are pinned. */
void frames_leave(struct workspace *work, size_t depth);

/* Says why a container cannot be opened. NULL. */
void *frames_refuse(struct encoder *e, PyObject *object);

/* A circle makes the same object turn up at each multiple of its length. It is compared with one frame only, that at
 * the greatest power of two so far (R. Brent, 1980): found before the depth has grown to three times the circle, or to
 * its limit, where all are compared with all. */
static inline bool frames_would_circle(const struct workspace *work, PyObject *object)
{
    size_t depth = work->depth;
    return depth > 0 && work->frames[((size_t)1 << (63 - __builtin_clzll(depth))) - 1].object == object;
}

static inline bool frames_cannot_open(const struct workspace *work, PyObject *object)
{
    return work->depth == ENCODER_DEPTH_MAX || frames_would_circle(work, object);
}

/* Opens a borrowed container and writes its bracket; one byte must be free. */
static inline unsigned char *frames_open(struct encoder *e, unsigned char *at, PyObject *object, enum form form)
{
    struct workspace *work = e->work;
    if (__builtin_expect(frames_cannot_open(work, object), 0)) {
        return frames_refuse(e, object);
    }
    struct frame *frame = &work->frames[work->depth++];
    frame->object = frame->items = object;
    frame->key = NULL;
    frame->at = 0;
    frame->form = form;
    frame->owned = false;
    *at++ = form <= FORM_TUPLE ? '[' : '{';
    return at;
}

/* The same, but takes the references to `object` and to `items`, by which it is walked, also on failure. The stack must
 * be pinned. */
unsigned char *frames_open_owned(struct encoder *e, unsigned char *at, PyObject *object, PyObject *items,
                                 enum form form);

/* Notes the key (borrowed) of the value that is to be written next; NULL for none. */
static inline void frames_set_key(struct frame *frame, PyObject *key)
{
    if (__builtin_expect(frame->owned, 0)) {
        PyObject *former = frame->key;
        Py_XINCREF(key);
        frame->key = key;
        Py_XDECREF(former);
        return;
    }
    frame->key = key;
}

/* Ends the innermost container, with its bracket instead of its last comma. May run code if it is pinned. */
static inline unsigned char *frames_close(struct workspace *work, unsigned char *at)
{
    const struct frame *frame = &work->frames[work->depth - 1];
    at -= at[-1] == ',';
    *at++ = frame->form <= FORM_TUPLE ? ']' : '}';
    if (__builtin_expect(frame->owned, 0)) {
        frames_leave(work, work->depth - 1);
    } else {
        work->depth--;
    }
    return at;
}

#endif
