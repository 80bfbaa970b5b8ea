#include "codec/frames.h"

void frames_leave(struct workspace *work, size_t depth)
{
    while (work->depth > depth) {
        struct frame frame = work->frames[--work->depth]; /* off the stack before anything can run */
        Py_XDECREF(frame.key);
        if (frame.items != frame.object) {
            Py_DECREF(frame.items);
        }
        Py_DECREF(frame.object);
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

void *frames_refuse(struct encoder *e, PyObject *object, PyObject *items)
{
    if (frames_would_circle(e->work, object)) {
        frames_leave(e->work, first_repetition(e->work)); /* the path is to where the circle closes first */
        fail(e, "ValueError", "circular reference");
    } else {
        fail_deep(e);
    }
    if (items != object) {
        Py_DECREF(items);
    }
    Py_DECREF(object);
    return NULL;
}
