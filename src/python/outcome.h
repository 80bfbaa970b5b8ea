/*
 * How a call ends: with a result, an exception, or because it was asked to stop. Each becomes the reply, or, once
 * events have gone out, the stream's last ones.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_OUTCOME_H
#define ASYA_PYTHON_OUTCOME_H

#include "python/call.h"

/* The user's code has ended: with `result` (taken over) or, if that is NULL, with the exception that is set, or with
 * `err` unless its category is ERR_NONE, or because nobody reads the reply. False if the call has failed: then the
 * failure is the reply, or an event of the stream. Otherwise `*ret_result` is to be written. */
bool outcome_take(struct call *call, PyObject *result, const struct error *err, PyObject **ret_result);

/* outcome_take, and then the result is written into the reply. */
void outcome_settle(struct call *call, PyObject *result);

/* The exception that is set, or an error of the runtime's own, becomes the reply or an `error` event. `before_call`:
 * the message is at fault; of an exception only if it is a validation_error, since the payload's class may fail by
 * itself. */
void outcome_fail(struct call *call, bool before_call);
void outcome_fail_error(struct call *call, const struct error *err, bool before_call);

/* Releases the objects that the call holds; only the reply remains. */
void outcome_close(struct call *call);

#endif
