/*
 * How a call ends: with a result, an exception, or because it was asked to stop. Each becomes the reply, or, once
 * events have gone out, the stream's last ones.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_OUTCOME_H
#define ASYA_PYTHON_OUTCOME_H

#include "python/call.h"

/* The user's code has ended, with `result` (taken over) or, if that is NULL, with the exception that is set, or with
 * `err` unless its category is ERR_NONE, or for nobody. False if the call has not succeeded: the failure is the reply,
 * or an event of the stream. Else `*ret_result` is to be written. */
bool outcome_take(struct call *call, PyObject *result, const struct error *err, PyObject **ret_result);

/* outcome_take, then the plain result into the reply. */
void outcome_settle(struct call *call, PyObject *result);

/* The exception that is set, or an error of the runtime's own, becomes the reply or an `error` event. */
void outcome_fail(struct call *call, bool before_call);
void outcome_fail_error(struct call *call, const struct error *err, bool before_call);

/* The reply is complete, or with someone else: releases the objects the call holds. */
void outcome_close(struct call *call);

#endif
