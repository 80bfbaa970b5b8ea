#include "codec/frames.h"

void frames_pin(struct workspace *work)
{
    for (; work->pinned < work->depth; work->pinned++) {
        struct frame *frame = &work->frames[work->pinned];
        frame->owned = true;
        Py_INCREF(frame->object);
        Py_INCREF(frame->items);
        Py_XINCREF(frame->key);
    }
}

void frames_leave(struct workspace *work, size_t depth)
{
    while (work->depth > depth) {
        struct frame frame = work->frames[--work->depth]; /* off the stack before anything can run */
        if (work->pinned > work->depth) {
            work->pinned = work->depth;
            Py_XDECREF(frame.key);
            Py_DECREF(frame.items);
            Py_DECREF(frame.object);
        }
    }
}

static bool frames_stands_below(const struct workspace *work, size_t depth, const PyObject *object)
{
    for (size_t i = 0; i < depth; i++) {
        if (work->frames[i].object == object) {
            return true;
        }
    }
    return false;
}

/* The depth at which an object first turns up again, with `object` as the one above the stack; one more if none does.
 */
static size_t frames_first_repetition(const struct workspace *work, const PyObject *object)
{
    for (size_t i = 1; i < work->depth; i++) {
        if (frames_stands_below(work, i, work->frames[i].object)) {
            return i;
        }
    }
    return frames_stands_below(work, work->depth, object) ? work->depth : work->depth + 1;
}

void *frames_refuse(struct encoder *e, PyObject *object)
{
    size_t first = frames_first_repetition(e->work, object);
    if (first > e->work->depth) {
        return encoder_fail_deep(e);
    }
    frames_pin(e->work);
    frames_leave(e->work, first); /* the path is to where the circle closes first */
    return encoder_fail(e, "ValueError", "circular reference");
}

unsigned char *frames_open_owned(struct encoder *e, unsigned char *at, PyObject *object, PyObject *items,
                                 enum form form)
{
    if (frames_cannot_open(e->work, object)) {
        frames_refuse(e, object);
        Py_DECREF(items);
        Py_DECREF(object);
        return NULL;
    }
    at = frames_open(e, at, object, form);
    struct frame *frame = &e->work->frames[e->work->depth - 1];
    frame->items = items;
    frame->owned = true;
    e->work->pinned = e->work->depth;
    return at;
}
