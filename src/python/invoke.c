#include "python/invoke.h"

#include "codec/decode.h"
#include "python/active.h"
#include "python/context.h"
#include "python/fork.h"
#include "python/generator.h"
#include "python/memory.h"
#include "python/outcome.h"
#include "python/spans.h"
#include "server/cancel.h"

#include <time.h>

#define MARGIN (250 * CLOCK_MS) /* for the reply, before the caller gives up; of a short time a tenth */

static bool invoke_convert(struct call *call)
{
    struct binding *binding = call->binding;
    if (binding->converter == NULL || call->envelope.passed != NULL) { /* whole messages are not converted */
        return true;
    }
    context_carry(call); /* a validator of the user's, and what it logs, are of this request already */
    PyObject *typed = PyObject_CallFunctionObjArgs(binding->converter, call->envelope.payload, NULL);
    if (typed == NULL) {
        outcome_fail(call, true);
        return false;
    }
    Py_DECREF(call->envelope.payload);
    call->envelope.payload = typed;
    return true;
}

/* The supervisor writes the line about this request if the worker does not live to do so. The id in the message is the
 * one that others know it by. */
static void invoke_note_id(const struct call *call)
{
    struct log_request about = envelope_about(&call->envelope, &(struct log_request){0});
    struct scoreboard *board = call->slot != NULL ? call->binding->board : NULL;
    if (board != NULL && about.id.size > 0) {
        scoreboard_note_id(board, call->slot, about.id);
    }
    if (board != NULL && about.traceparent.size > 0) {
        scoreboard_note_trace(board, call->slot, about.traceparent);
    }
}

/* The caller's deadline is a limit of this request, so much earlier that the reply still arrives. False if it has
 * passed. */
static bool invoke_note_deadline(const struct call *call)
{
    struct timespec now;
    uint64_t at = envelope_deadline(&call->envelope);
    if (at == 0 || call->slot == NULL || clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return true;
    }
    uint64_t today = (uint64_t)now.tv_sec * CLOCK_SECOND + (uint64_t)now.tv_nsec;
    if (at <= today) {
        return false;
    }
    uint64_t left = at - today;
    uint64_t margin = left / 10 < MARGIN ? left / 10 : MARGIN;
    atomic_store_explicit(&call->slot->deadline, clock_after(clock_now(), left - margin), memory_order_relaxed);
    return true;
}

/* Decodes and validates. False: the reply is the refusal. */
static bool invoke_open(struct call *call)
{
    struct binding *binding = call->binding;
    struct error err;
    PyObject *decoded = decode(call->message, call->size, &err);
    if (decoded == NULL) {
        outcome_fail_error(call, &err, err.category != ERR_MEMORY);
        return false;
    }
    bool whole =
        binding->whole && (call->protocol == PROTOCOL_FRAMED || (call->protocol == PROTOCOL_HTTP && binding->is_short));
    if (envelope_open(&call->envelope, decoded, call->protocol, binding->validate, whole) != 0) {
        outcome_fail(call, binding->validate);
        return false;
    }
    invoke_note_id(call);
    if (!invoke_note_deadline(call)) {
        cancel_expired_error(&err);
        outcome_fail_error(call, &err, false);
        return false;
    }
    return invoke_convert(call);
}

/* New reference, or NULL with the exception set. Begins what outcome_take ends: from here on the call can be cancelled.
 */
static PyObject *invoke_function(struct call *call)
{
    PyObject *function = call->binding->function;
    bool whole = call->envelope.passed != NULL;
    PyObject *argument = whole ? call->envelope.message : call->envelope.payload;
    active_add(call);
    memory_begin();
    exchange_called(call->conn);
    if (function == NULL) {
        Py_INCREF(argument);
        return argument;
    }
    spans_begin(call);
    PyObject *result = PyObject_CallFunctionObjArgs(function, argument, NULL);
    fork_end_child();
    return result;
}

void invoke_settle(struct call *call, enum shape shape, PyObject *result)
{
    if (shape == SHAPE_GENERATOR) {
        generator_run(call, result);
    } else {
        outcome_settle(call, result);
    }
}

bool invoke_run(struct call *call, PyObject **ret_thing)
{
    if (invoke_open(call)) {
        PyObject *result = invoke_function(call);
        enum shape shape = result != NULL ? shape_of(result) : SHAPE_VALUE;
        if (shape == SHAPE_AWAITABLE || shape == SHAPE_ASYNC_GENERATOR) {
            *ret_thing = result;
            return false;
        }
        invoke_settle(call, shape, result);
    }
    outcome_close(call);
    return true;
}
