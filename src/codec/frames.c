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

/* Fills `list`, if there is one, with what PyDict_Next gives from `at` on: 2 for each pair. How many that are.
 * Allocates nothing, so no other code runs in between. */
static Py_ssize_t frames_copy_rest(PyObject *dict, Py_ssize_t at, PyObject *list, Py_ssize_t count)
{
    PyObject *key, *value;
    while (PyDict_Next(dict, &at, &key, &value) != 0) {
        if (list != NULL) {
            Py_INCREF(key);
            Py_INCREF(value);
            (void)PyList_SetItem(list, count, key);
            (void)PyList_SetItem(list, count + 1, value);
        }
        count += 2;
    }
    return count;
}

/* Takes the reference to `list`. */
static void frames_walk_copy(struct frame *frame, PyObject *list)
{
    PyObject *former = frame->items;
    frame->items = list;
    frame->form = FORM_COPY;
    frame->at = 0;
    Py_DECREF(former); /* the dict, which `object` holds as well */
}

bool frames_secure_rest(struct workspace *work)
{
    frames_pin(work);
    for (; work->secure < work->depth; work->secure++) {
        struct frame *frame = &work->frames[work->secure];
        if (frame->form != FORM_DICT) {
            continue;
        }
        PyObject *list = PyList_New(frames_copy_rest(frame->items, frame->at, NULL, 0));
        if (list == NULL) {
            return false;
        }
        /* making the list may have run the collector, and that code that has changed the dict */
        if (frames_copy_rest(frame->items, frame->at, NULL, 0) != PyList_Size(list)) {
            Py_DECREF(list);
            PyErr_SetString(PyExc_RuntimeError, "a dict has changed while it was written");
            return false;
        }
        (void)frames_copy_rest(frame->items, frame->at, list, 0);
        frames_walk_copy(frame, list);
    }
    return true;
}

bool frames_copy_from(struct workspace *work, PyObject *key, PyObject *value)
{
    struct frame *frame = &work->frames[work->depth - 1];
    Py_INCREF(key);
    Py_INCREF(value);
    frames_pin(work);
    Py_ssize_t count = frames_copy_rest(frame->items, frame->at, NULL, 2);
    PyObject *list = PyList_New(count);
    bool same = list != NULL && frames_copy_rest(frame->items, frame->at, NULL, 2) == count;
    if (!same) {
        if (list != NULL) {
            PyErr_SetString(PyExc_RuntimeError, "a dict has changed while it was written");
        }
        Py_XDECREF(list);
        Py_DECREF(value);
        Py_DECREF(key);
        return false;
    }
    (void)PyList_SetItem(list, 0, key);
    (void)PyList_SetItem(list, 1, value);
    (void)frames_copy_rest(frame->items, frame->at, list, 2);
    frames_walk_copy(frame, list);
    return true;
}

void frames_leave(struct workspace *work, size_t depth)
{
    while (work->depth > depth) {
        struct frame frame = work->frames[--work->depth]; /* off the stack before anything can run */
        if (work->pinned > work->depth) {
            work->pinned = work->depth;
            work->secure = work->secure < work->depth ? work->secure : work->depth;
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
    if (e->work->secure == e->work->depth - 1 && form != FORM_DICT) {
        e->work->secure = e->work->depth;
    }
    return at;
}
