#include "python/outcome.h"

#include "python/access.h"
#include "python/active.h"
#include "python/context.h"
#include "python/object.h"
#include "python/result.h"
#include "python/spans.h"
#include "python/stdio.h"
#include "python/stream.h"
#include "server/cancel.h"

static void outcome_write_failure(struct call *call, bool before_call)
{
    struct reply *reply = call->reply;
    failure_write(call->failure, call->protocol, before_call, &reply->body);
    reply->status = before_call ? 400 : call->failure->category == ERR_SERVER ? 503 : 500;
    reply->succeeded = false;
    exchange_fail(call->conn, call->failure->category, (struct view){call->failure->type, call->failure->type_size});
    if (call->streaming) {
        (void)stream_send(call, "error", &reply->body);
        PyErr_Clear(); /* a signal handler's: this request is over */
    }
}

/* What a line about this call says of it. Looks things up, so no exception may be set. */
static struct log_facts outcome_facts(const struct call *call)
{
    uint64_t since = call->slot != NULL ? atomic_load_explicit(&call->slot->since, memory_order_relaxed) : 0;
    uint64_t now = clock_now();
    return (struct log_facts){.request = envelope_about(&call->envelope, &call->transport),
                              .duration = since != 0 && since < now ? now - since : 0};
}

/* For GET /status. A time limit is noted by the supervisor, which has the stack. */
static void outcome_note(const struct call *call, const struct log_facts *about)
{
    const struct failure *failure = call->failure;
    struct scoreboard *board = call->binding->board;
    struct incident incident;
    bool has_type = failure->category == ERR_PROCESSING;
    incident_make(&incident, failure->category, about->request.id, view_of(has_type ? failure->type : ""),
                  view_of(failure->text));
    exchange_keep_record(call->conn, incident.file);
    if (board != NULL && active_reason(call) != CANCEL_TIMEOUT) {
        incident_note(&board->incidents, &incident);
    }
}

static void outcome_fail_as(struct call *call, const struct error *err, bool before_call)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    bool expected = active_is_obeyed(call);
    PyErr_Fetch(&type, &value, &traceback);
    const struct log_facts about = outcome_facts(call);
    context_carry(call);
    if (call->span != NULL) {
        PyErr_NormalizeException(&type, &value, &traceback);
    }
    PyObject *error = call->span != NULL ? object_own(value) : NULL;
    PyErr_Restore(type, value, traceback);
    failure_take(&about, expected, err, call->failure);
    spans_fail(call, error);
    Py_XDECREF(error);
    if (!expected) {
        outcome_note(call, &about);
    }
    /* a class of the payload's may fail by itself, or memory run out: that is not the message's fault */
    outcome_write_failure(call, before_call && call->failure->category == ERR_VALIDATION);
}

void outcome_fail(struct call *call, bool before_call) { outcome_fail_as(call, NULL, before_call); }

void outcome_fail_error(struct call *call, const struct error *err, bool before_call)
{
    if (call->raised != NULL) {
        PyObject *type = (PyObject *)Py_TYPE(call->raised);
        Py_INCREF(type);
        PyErr_Restore(type, call->raised, PyException_GetTraceback(call->raised));
        call->raised = NULL;
        outcome_fail_as(call, err, before_call);
        return;
    }
    const struct log_facts about = outcome_facts(call);
    failure_take_error(&about, err, call->failure);
    spans_fail(call, NULL);
    outcome_note(call, &about);
    outcome_write_failure(call, before_call);
}

bool outcome_take(struct call *call, PyObject *result, const struct error *err, PyObject **ret_result)
{
    uint32_t reason = active_remove(call);
    exchange_returned(call->conn);
    bool is_stopped = reason == CANCEL_STOPPING && call->told && result == NULL;
    if (reason == CANCEL_TIMEOUT ||
        is_stopped) { /* whatever it raised, or returned too late, the reply says that it was cancelled */
        struct error asked;
        PyErr_Clear();
        Py_XDECREF(result);
        Py_CLEAR(call->raised);
        if (is_stopped) {
            cancel_stopping_error(&asked);
        } else {
            cancel_late_error(&asked, call->binding->timeout, call_limit(call).is_callers);
        }
        outcome_fail_error(call, &asked, false);
        return false;
    }
    if (result == NULL) {
        if (PyErr_Occurred() != NULL) {
            outcome_fail(call, false);
        } else if (err != NULL && err->category != ERR_NONE) {
            outcome_fail_error(call, err, false);
        }
        return false;
    }
    *ret_result = result;
    return true;
}

void outcome_settle(struct call *call, PyObject *result)
{
    struct error err;
    if (!outcome_take(call, result, NULL, &result)) {
        return;
    }
    if (!result_write(call, result, &err)) {
        if (err.category == ERR_NONE) {
            outcome_fail(call, false);
        } else {
            outcome_fail_error(call, &err, false);
        }
    }
    Py_DECREF(result);
}

void outcome_close(struct call *call)
{
    access_note(call);
    spans_end(call);
    stdio_end_request(call);
    context_end(call);
    Py_CLEAR(call->raised);
    envelope_close(&call->envelope);
}
