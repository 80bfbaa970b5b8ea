/*
 * Handles the frames of a generator: over HTTP each is sent at once as an event; otherwise they are collected in the
 * reply, as the list of a fan-out. A frame is written as soon as it is yielded, so it shows the route, headers and
 * status of that moment.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_YIELDS_H
#define ASYA_PYTHON_YIELDS_H

#include "python/call.h"

/* To be called before the first frame. False if nobody would read them (call->gone). */
bool yields_begin(struct call *call);

enum taken {
    TAKEN_SEND,  /* go on; `*ret_value` (new reference) is sent into the generator */
    TAKEN_WAIT,  /* a task: go on when the client has taken what was sent */
    TAKEN_THROW, /* the exception that is set is thrown into the generator */
    TAKEN_STOP,  /* close the generator: nobody reads any more, or the frame cannot be written */
};

/* What the generator has yielded. After TAKEN_STOP without call->gone, `err` says why. */
enum taken yields_take(struct call *call, PyObject *item, PyObject **ret_value, struct error *err);

/* The generator has ended: with `ended` (taken over) at its end; with NULL earlier, because of the exception that is
 * set, or of `err`, or because the client is gone. Completes the reply, or the stream's events. */
void yields_settle(struct call *call, PyObject *ended, const struct error *err);

#endif
