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

void *frames_refuse(struct encoder *e, PyObject *object)
{
    if (!frames_would_circle(e->work, object)) {
        return fail_deep(e);
    }
    frames_pin(e->work);
    frames_leave(e->work, first_repetition(e->work)); /* the path is to where the circle closes first */
    return fail(e, "ValueError", "circular reference");
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
