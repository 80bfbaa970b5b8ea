/*
 * The encoder's stack: which containers are open. Holds what is on it, refuses circles and too many levels.
 *
 * Internal to the encoder.
 */
#ifndef ASYA_CODEC_FRAMES_H
#define ASYA_CODEC_FRAMES_H

#include "codec/encoder.h"

/* Leaves frames until `depth` are open. May run code of the objects that are given up. */
void frames_leave(struct workspace *work, size_t depth);

/* The slow end of frames_open: says why, gives up the references. NULL. */
void *frames_refuse(struct encoder *e, PyObject *object, PyObject *items);

/* A circle makes the same object turn up at each multiple of its length. It is compared with one frame only, that at
 * the greatest power of two so far (R. Brent, 1980): found before the depth has grown to three times the circle. */
static inline bool frames_would_circle(const struct workspace *work, PyObject *object)
{
    size_t depth = work->depth;
    return depth > 0 && work->frames[((size_t)1 << (63 - __builtin_clzll(depth))) - 1].object == object;
}

/* Opens a container and writes its bracket; one byte must be free. Takes the references to `object` and, unless it is
 * the same, to `items`, on failure too. */
static inline unsigned char *frames_open(struct encoder *e, unsigned char *at, PyObject *object, PyObject *items,
                                         enum form form)
{
    struct workspace *work = e->work;
    if (__builtin_expect(work->depth == ENCODER_DEPTH_MAX || frames_would_circle(work, object), 0)) {
        return frames_refuse(e, object, items);
    }
    work->frames[work->depth++] = (struct frame){.object = object, .items = items, .form = form};
    *at++ = form <= FORM_TUPLE ? '[' : '{';
    return at;
}

/* Ends the innermost container, whose key is given up already, with its bracket instead of its last comma; at least
 * OUTPUT_ROOM bytes are free behind it. May run code. */
static inline unsigned char *frames_close(struct encoder *e, unsigned char *at)
{
    const struct frame *frame = &e->work->frames[--e->work->depth];
    PyObject *object = frame->object, *items = frame->items;
    at -= at[-1] == ',';
    *at++ = frame->form <= FORM_TUPLE ? ']' : '}';
    if (items != object) {
        Py_DECREF(items);
    }
    Py_DECREF(object);
    return encoder_reserve(e, at, OUTPUT_ROOM);
}

#endif
