#include "python/yields.h"

#include "base/log.h"
#include "codec/encode.h"
#include "python/command.h"
#include "python/outcome.h"
#include "python/result.h"
#include "python/stream.h"

bool yields_begin(struct call *call)
{
    return call->protocol != PROTOCOL_HTTP || call->binding->is_short || stream_begin(call);
}

/* The text before a frame in a list. */
static const char *yields_prefix_of(const struct call *call)
{
    if (call->frames > 1) {
        return ",";
    }
    if (call->protocol == PROTOCOL_HTTP) {
        return "{\"frames\":[";
    }
    return call->protocol == PROTOCOL_RAW ? "{\"status\":\"ok\",\"result\":[" : "[";
}

static bool yields_write_listed(struct call *call, PyObject *payload, const char *root, struct error *err)
{
    Py_ssize_t count = (Py_ssize_t)call->frames;
    return envelope_append(&call->reply->body, yields_prefix_of(call), err) &&
           result_write_item(call, payload, root, count - 1, count, err);
}

static enum taken yields_after(enum sent sent)
{
    static const enum taken taken[] = {
        [SENT] = TAKEN_SEND, [SENT_PENDING] = TAKEN_WAIT, [SENT_GONE] = TAKEN_STOP, [SENT_RAISED] = TAKEN_THROW};
    return taken[sent];
}

/* In Asya 0.5.2 and 0.5.3 such a dict went upstream; in later versions and here it is a frame like any other. Logs that
 * once per worker, for functions written for those versions. The flag is protected by the GIL. */
static void yields_warn_of_partial(const struct call *call, PyObject *payload)
{
    static bool is_said;
    if (!is_said && PyDict_Check(payload) && PyDict_GetItemString(payload, "partial") == Py_True) {
        is_said = true;
        const struct log_facts facts = {.request = envelope_about(&call->envelope, &call->transport)};
        log_event(LOG_LEVEL_WARNING, EVENT_RESULT_PARTIAL, &facts,
                  "a yielded dict has \"partial\": true: it goes to the next actor; yield \"FLY\", x goes upstream");
    }
}

static enum taken yields_take_frame(struct call *call, PyObject *payload, struct error *err)
{
    struct buffer *out = &call->reply->body;
    char root[32];
    (void)PyOS_snprintf(root, sizeof root, "frame[%zu]", call->frames);
    call->frames++;
    if (!call->streaming) {
        return yields_write_listed(call, payload, root, err) ? TAKEN_SEND : TAKEN_STOP;
    }
    out->size = 0;
    yields_warn_of_partial(call, payload);
    if (!result_write_item(call, payload, root, 0, 1, err)) {
        return TAKEN_STOP;
    }
    return yields_after(stream_send(call, "downstream", out));
}

/* Only a stream of events has an upstream; elsewhere FLY does nothing. */
static enum taken yields_take_fly(struct call *call, PyObject *value, struct error *err)
{
    struct buffer *out = &call->reply->body;
    if (!call->streaming) {
        return TAKEN_SEND;
    }
    out->size = 0;
    if (!envelope_append(out, "{\"payload\":", err) || !result_keep_raised(call, encode(value, "FLY", out, err), err) ||
        !envelope_append(out, "}", err)) {
        return TAKEN_STOP;
    }
    return yields_after(stream_send(call, "upstream", out));
}

enum taken yields_take(struct call *call, PyObject *item, PyObject **ret_value, struct error *err)
{
    PyObject *value = NULL;
    enum taken taken = TAKEN_SEND;
    switch (command_take(&call->envelope, item, &value)) {
    case COMMAND_NONE:
        break;
    case COMMAND_FRAME:
        taken = yields_take_frame(call, item, err);
        break;
    case COMMAND_FLY:
        taken = yields_take_fly(call, value, err);
        Py_CLEAR(value);
        break;
    case COMMAND_DONE:
        *ret_value = value;
        return TAKEN_SEND;
    case COMMAND_FAILED:
        return TAKEN_THROW;
    }
    if (taken == TAKEN_SEND) {
        *ret_value = Py_None;
        Py_INCREF(Py_None);
    }
    return taken;
}

/* The brackets of a list. */
static bool yields_close_list(struct call *call, struct error *err)
{
    struct buffer *out = &call->reply->body;
    if (call->frames == 0 && call->protocol == PROTOCOL_HTTP) {
        call->reply->status = 204; /* as for None */
        return true;
    }
    call->frames += call->frames == 0; /* an empty list must still be opened */
    if (out->size == 0 && !envelope_append(out, yields_prefix_of(call), err)) {
        return false;
    }
    return envelope_append(out, call->protocol == PROTOCOL_FRAMED ? "]" : "]}", err);
}

void yields_settle(struct call *call, PyObject *ended, const struct error *err)
{
    struct error unwritten;
    if (outcome_take(call, ended, err, &ended)) {
        Py_DECREF(ended);
        if (!call->streaming && !yields_close_list(call, &unwritten)) {
            outcome_fail_error(call, &unwritten, false);
        }
    }
    if (call->streaming) {
        stream_end(call);
    }
}
