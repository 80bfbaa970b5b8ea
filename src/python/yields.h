/*
 * Where the frames of a generator go: over HTTP out as events, each as it comes; otherwise into the reply, as the list
 * of a fan-out. A frame is written when it is given, so it shows route, headers and status of that moment.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_YIELDS_H
#define ASYA_PYTHON_YIELDS_H

#include "python/call.h"

/* Before the first. False if nobody would read them (call->gone). */
bool yields_begin(struct call *call);

enum taken {
    TAKEN_SEND,  /* go on; `*ret_value` (new reference) is sent into the generator */
    TAKEN_WAIT,  /* a task: go on when the client has taken what was sent */
    TAKEN_THROW, /* the exception that is set is thrown into the generator */
    TAKEN_STOP,  /* close the generator: nobody reads any more, or the frame cannot be written */
};

/* What the generator has yielded. After TAKEN_STOP without call->gone, `err` says why. */
enum taken yields_take(struct call *call, PyObject *item, PyObject **ret_value, struct error *err);

/* The generator is through. `ended` (taken over): it has come to its end. Otherwise, if that is NULL, the exception
 * that is set is why, or `err`, or the client is gone. Completes the reply, or the events. */
void yields_settle(struct call *call, PyObject *ended, const struct error *err);

#endif
