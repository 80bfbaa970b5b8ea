#include "python/result.h"

#include "base/log.h"
#include "codec/encode.h"
#include "python/raised.h"

bool result_keep_raised(struct call *call, bool written, const struct error *err)
{
    if (!written && err->category != ERR_NONE) {
        struct raised raised = raised_take();
        PyObject *former = call->raised;
        call->raised = raised.value;
        raised.value = former;
        raised_done(&raised);
    }
    return written;
}

static bool result_write_one(struct call *call, PyObject *item, const char *root, Py_ssize_t index, Py_ssize_t count,
                             struct error *err)
{
    struct envelope *envelope = &call->envelope;
    struct buffer *out = &call->reply->body;
    if (call->protocol == PROTOCOL_RAW) {
        return encode(item, root, out, err);
    }
    if (envelope->passed == NULL) {
        return envelope_write_frame(envelope, item, root, out, err);
    }
    PyObject *message = envelope_check_output(envelope, item, call->binding->validate, index, count);
    if (message == NULL) {
        err->category = ERR_NONE; /* the exception that is set says why */
        return false;
    }
    bool written = encode(message, root, out, err);
    Py_DECREF(message);
    return written;
}

bool result_write_item(struct call *call, PyObject *item, const char *root, Py_ssize_t index, Py_ssize_t count,
                       struct error *err)
{
    return result_keep_raised(call, result_write_one(call, item, root, index, count, err), err);
}

static bool result_write_raw(struct call *call, PyObject *result, struct error *err)
{
    struct buffer *out = &call->reply->body;
    if (reply_success_begin(out) == BUFFER_OK) {
        if (!result_write_item(call, result, "result", 0, 1, err)) {
            return false;
        }
        if (reply_success_end(out) == BUFFER_OK) {
            return true;
        }
    }
    return error_set(err, ERR_MEMORY, 0, "no memory for the reply");
}

static bool result_write_all(struct call *call, PyObject *items, struct error *err)
{
    Py_ssize_t count = PyTuple_Size(items);
    for (Py_ssize_t i = 0; i < count; i++) {
        char root[32];
        (void)PyOS_snprintf(root, sizeof root, "result[%ld]", (long)i);
        if ((i > 0 && !envelope_append(&call->reply->body, ",", err)) ||
            !result_write_item(call, PyTuple_GetItem(items, i), root, i, count, err)) {
            return false;
        }
    }
    return true;
}

/* None: no item; a list or tuple: one item per element; anything else: one item. */
static bool result_write_framed(struct call *call, PyObject *result, struct error *err)
{
    struct buffer *out = &call->reply->body;
    bool written = envelope_append(out, "[", err);
    if (PyList_Check(result) || PyTuple_Check(result)) {
        PyObject *items = PySequence_Tuple(result); /* what writing an item runs may change a list */
        if (items == NULL) {
            err->category = ERR_NONE;
            return false;
        }
        written = written && result_write_all(call, items, err);
        Py_DECREF(items);
    } else if (result != Py_None) {
        written = written && result_write_item(call, result, "result", 0, 1, err);
    }
    return written && envelope_append(out, "]", err);
}

/* Over HTTP, None ends the message's route. That is right for the last actor of a flow, but elsewhere it is mostly a
 * forgotten `return`. So it is logged, once per worker. The flag is protected by the GIL. */
static void result_warn_of_none(const struct call *call)
{
    static bool is_said;
    if (!is_said) {
        is_said = true;
        const struct log_facts facts = {.request = envelope_about(&call->envelope, &call->transport)};
        log_event(LOG_LEVEL_WARNING, EVENT_RESULT_NONE, &facts,
                  "the function returned None: the message's route ends here (204); this worker does not say it again");
    }
}

static bool result_write_http(struct call *call, PyObject *result, struct error *err)
{
    struct buffer *out = &call->reply->body;
    if (result == Py_None) {
        result_warn_of_none(call);
        call->reply->status = 204;
        return true;
    }
    return envelope_append(out, "{\"frames\":[", err) && result_write_item(call, result, "result", 0, 1, err) &&
           envelope_append(out, "]}", err);
}

bool result_write(struct call *call, PyObject *result, struct error *err)
{
    switch (call->protocol) {
    case PROTOCOL_HTTP:
        return result_write_http(call, result, err);
    case PROTOCOL_FRAMED:
        return result_write_framed(call, result, err);
    default:
        return result_write_raw(call, result, err);
    }
}
