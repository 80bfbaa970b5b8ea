#include "python/call.h"

#include "base/forked.h"
#include "codec/decode.h"
#include "codec/encode.h"
#include "codec/pyabi.h"
#include "python/active.h"
#include "python/context.h"
#include "python/error_reply.h"
#include "python/stream.h"
#include "server/cancel.h"

#include <stdlib.h>
#include <unistd.h>

void call_make(struct call *call, struct binding *binding, const struct request *request, struct reply *reply)
{
    *call = (struct call){.binding = binding,
                          .conn = request->conn,
                          .slot = request->slot,
                          .sequence = request->sequence,
                          .protocol = request->protocol,
                          .id = request->id,
                          .traceparent = request->traceparent,
                          .reply = reply,
                          .failure = &binding->failure};
    reply->status = 200;
    reply->succeeded = true;
}

/* ---- failures -----------------------------------------------------------------------------------------------------
 */

/* UTF-8 of a str, borrowed from it; empty for anything else. */
static struct view text_of(PyObject *object)
{
    Py_ssize_t size;
    const char *text = object != NULL && PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &size) : NULL;
    if (text == NULL) {
        PyErr_Clear();
        return (struct view){0};
    }
    return (struct view){text, (size_t)size};
}

struct log_request call_about(const struct call *call)
{
    const struct envelope *envelope = &call->envelope;
    PyObject *headers = envelope->headers;
    struct view id = text_of(envelope->id);
    struct view traceparent = headers != NULL && PyDict_Check(headers)
                                  ? text_of(PyDict_GetItemString(headers, "traceparent"))
                                  : (struct view){0};
    return (struct log_request){.id = id.size > 0 ? id : call->id,
                                .traceparent = traceparent.size > 0 ? traceparent : call->traceparent};
}

static void write_failure(struct call *call, bool before_call)
{
    struct reply *reply = call->reply;
    error_reply_write(call->protocol, before_call, call->failure, &reply->body);
    reply->status = before_call ? 400 : call->failure->category == ERR_SERVER ? 503 : 500;
    reply->succeeded = false;
    if (call->streaming) {
        (void)stream_send(call, "error", &reply->body);
        PyErr_Clear(); /* a signal handler's: this request is over */
    }
}

void call_fail(struct call *call, bool before_call)
{
    struct log_request about = {0};
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    bool expected = active_is_obeyed(call);
    PyErr_Fetch(&type, &value, &traceback); /* call_about looks things up */
    about = call_about(call);
    PyErr_Restore(type, value, traceback);
    failure_take(&about, expected, call->failure);
    write_failure(call, before_call);
}

void call_fail_error(struct call *call, const struct error *err, bool before_call)
{
    struct log_request about = call_about(call);
    failure_take_error(&about, err, call->failure);
    write_failure(call, before_call);
}

/* ---- before the call ----------------------------------------------------------------------------------------------
 */

static bool convert(struct call *call)
{
    struct binding *binding = call->binding;
    if (binding->converter == NULL || binding->whole) {
        return true;
    }
    PyObject *typed = PyObject_CallFunctionObjArgs(binding->converter, call->envelope.payload, NULL);
    if (typed == NULL) {
        call_fail(call, true);
        return false;
    }
    Py_DECREF(call->envelope.payload);
    call->envelope.payload = typed;
    return true;
}

/* For the supervisor, which writes the line if the worker does not come to it. The envelope's is the one that others
 * know the message by. */
static void note_id(const struct call *call)
{
    struct view id = text_of(call->envelope.id);
    if (call->slot != NULL && call->binding->board != NULL && id.size > 0) {
        scoreboard_note_id(call->binding->board, call->slot, id);
    }
}

bool call_open(struct call *call, const unsigned char *message, size_t size)
{
    struct binding *binding = call->binding;
    struct error err;
    PyObject *decoded = decode(message, size, &err);
    if (decoded == NULL) {
        call_fail_error(call, &err, err.category != ERR_MEMORY);
        return false;
    }
    bool whole = binding->whole && call->protocol == PROTOCOL_FRAMED;
    if (envelope_open(&call->envelope, decoded, call->protocol, binding->validate, whole) != 0) {
        call_fail(call, binding->validate);
        return false;
    }
    note_id(call);
    return convert(call);
}

/* ---- the call -----------------------------------------------------------------------------------------------------
 */

void call_check_fork(void)
{
    if (forked_is_child()) {
        _exit(0);
    }
}

PyObject *call_function(struct call *call)
{
    PyObject *function = call->binding->function;
    bool whole = call->envelope.passed != NULL;
    PyObject *argument = whole ? call->envelope.message : call->envelope.payload;
    active_add(call);
    if (function == NULL) {
        Py_INCREF(argument);
        return argument;
    }
    PyObject *result = PyObject_CallFunctionObjArgs(function, argument, NULL);
    call_check_fork();
    return result;
}

bool call_end_function(struct call *call, PyObject *result, const struct error *err, PyObject **ret_result)
{
    uint32_t reason = active_remove(call);
    bool is_stopped = reason == CANCEL_STOPPING && call->told && result == NULL;
    if (reason == CANCEL_TIMEOUT || is_stopped) { /* whatever it raised, or returned too late: it was asked to stop */
        struct error asked;
        PyErr_Clear();
        Py_XDECREF(result);
        if (is_stopped) {
            cancel_stopping_error(&asked);
        } else {
            cancel_timeout_error(&asked, call->binding->timeout);
        }
        call_fail_error(call, &asked, false);
        return false;
    }
    if (result == NULL) {
        if (PyErr_Occurred() != NULL) {
            call_fail(call, false);
        } else if (err != NULL && err->category != ERR_NONE) {
            call_fail_error(call, err, false);
        }
        return false;
    }
    *ret_result = result;
    return true;
}

/* ---- plain results ------------------------------------------------------------------------------------------------
 */

static bool append(struct buffer *out, const char *text, struct error *err)
{
    return buffer_append(out, text, strlen(text)) == BUFFER_OK ||
           error_set(err, ERR_MEMORY, 0, "no memory for the reply");
}

static bool write_raw(PyObject *result, struct buffer *out, struct error *err)
{
    error_set(err, ERR_MEMORY, 0, "no memory for the reply");
    return reply_success_begin(out) == BUFFER_OK && encode(result, "result", out, err) &&
           reply_success_end(out) == BUFFER_OK;
}

/* One item of a framed reply: a frame around a payload, or the message the function returned. */
static bool write_item(struct call *call, PyObject *item, Py_ssize_t index, Py_ssize_t count, struct error *err)
{
    struct envelope *envelope = &call->envelope;
    struct buffer *out = &call->reply->body;
    char root[32] = "result";
    if (count > 0) {
        (void)PyOS_snprintf(root, sizeof root, "result[%ld]", (long)index);
    }
    if (index > 0 && !append(out, ",", err)) {
        return false;
    }
    if (envelope->passed == NULL) {
        return envelope_write_frame(envelope, item, root, out, err);
    }
    PyObject *message = envelope_check_output(envelope, item, call->binding->validate, index, count > 0 ? count : 1);
    if (message == NULL) {
        err->category = ERR_NONE; /* the exception that is set says it */
        return false;
    }
    bool written = encode(message, root, out, err);
    Py_DECREF(message);
    return written;
}

/* None: no item; a list or tuple: one item per element; anything else: one item. */
static bool write_framed(struct call *call, PyObject *result, struct error *err)
{
    struct buffer *out = &call->reply->body;
    bool many = PyList_Check(result) || PyTuple_Check(result);
    PyObject *items = many ? PySequence_Tuple(result) : NULL; /* what writing an item runs may change a list */
    if (many && items == NULL) {
        err->category = ERR_NONE;
        return false;
    }
    Py_ssize_t count = many ? PyTuple_Size(items) : 0;
    bool written = append(out, "[", err) && (many || result == Py_None || write_item(call, result, 0, 0, err));
    for (Py_ssize_t i = 0; written && i < count; i++) {
        written = write_item(call, PyTuple_GetItem(items, i), i, count, err);
    }
    Py_XDECREF(items);
    return written && append(out, "]", err);
}

static bool write_http(struct call *call, PyObject *result, struct error *err)
{
    struct buffer *out = &call->reply->body;
    if (result == Py_None) {
        call->reply->status = 204;
        return true;
    }
    return append(out, "{\"frames\":[", err) && envelope_write_frame(&call->envelope, result, "result", out, err) &&
           append(out, "]}", err);
}

static bool write_result(struct call *call, PyObject *result, struct error *err)
{
    switch (call->protocol) {
    case PROTOCOL_HTTP:
        return write_http(call, result, err);
    case PROTOCOL_FRAMED:
        return write_framed(call, result, err);
    default:
        return write_raw(result, &call->reply->body, err);
    }
}

void call_settle(struct call *call, PyObject *result)
{
    struct error err;
    if (!call_end_function(call, result, NULL, &result)) {
        return;
    }
    if (!write_result(call, result, &err)) {
        if (err.category == ERR_NONE) {
            call_fail(call, false);
        } else {
            call_fail_error(call, &err, false);
        }
    }
    Py_DECREF(result);
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

/* Copies what the call only borrows from its request. */
static bool keep_names(struct call *call)
{
    size_t size = call->id.size + call->traceparent.size;
    if (size == 0) {
        return true;
    }
    char *names = malloc(size);
    if (names == NULL) {
        return false;
    }
    if (call->id.size > 0) {
        memcpy(names, call->id.data, call->id.size);
    }
    if (call->traceparent.size > 0) {
        memcpy(names + call->id.size, call->traceparent.data, call->traceparent.size);
    }
    call->id.data = names;
    call->traceparent.data = names + call->id.size;
    call->names = names;
    return true;
}

/* Makes a call that is not on anybody's stack independent of its request. */
static bool own(struct call *call, struct buffer body)
{
    call->kept = true;
    call->own = (struct reply){.body = body, .status = 200, .succeeded = true};
    call->reply = &call->own;
    return keep_names(call);
}

struct call *call_keep(struct call *call)
{
    struct call *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        return NULL;
    }
    *kept = *call;
    if (!own(kept, call->reply->body)) {
        free(kept);
        return NULL;
    }
    call->reply->body = buffer_make(call->reply->body.limit);
    if (call->active) {
        kept->active = false;
        (void)active_remove(call);
        active_add(kept);
    }
    context_move(kept);
    call->envelope = (struct envelope){0};
    call->handle = NULL;
    exchange_set_data(kept->conn, kept);
    return kept;
}

struct call *call_keep_request(struct binding *binding, const struct request *request, size_t limit)
{
    struct call *call = malloc(sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    struct reply none = {0};
    call_make(call, binding, request, &none);
    call->message = malloc(request->size > 0 ? request->size : 1);
    if (call->message == NULL || !own(call, buffer_make(limit))) {
        free(call->message);
        free(call);
        return NULL;
    }
    memcpy(call->message, request->message, request->size);
    call->size = request->size;
    exchange_set_data(call->conn, call);
    return call;
}

void call_close(struct call *call)
{
    context_end(call);
    envelope_close(&call->envelope);
    if (call->kept) {
        Py_CLEAR(call->task);
        Py_CLEAR(call->waiter);
        Py_CLEAR(call->context);
    }
}

void call_send(struct call *call)
{
    exchange_set_data(call->conn, NULL);
    if (call->streaming) {
        exchange_stream_end(call->conn, !call->gone);
        buffer_done(&call->own.body);
    } else {
        exchange_reply(call->conn, &call->own);
    }
    call_free(call);
}

void call_free(struct call *call)
{
    free(call->message);
    free(call->names);
    free(call);
}
