#include "python/stream.h"

#include "python/pool.h"

static bool lost(struct call *call)
{
    call->gone = true;
    return false;
}

bool stream_begin(struct call *call)
{
    bool begun = call->place == CALL_THREAD ? pool_stream(call) : exchange_stream(call->conn);
    call->streaming = begun;
    return begun || lost(call);
}

/* The function runs in the thread of the server. */
static enum sent send_here(struct call *call, struct view name, struct view json)
{
    if (!exchange_event(call->conn, name, json)) {
        return SENT_GONE;
    }
    if (exchange_pending(call->conn) == 0) {
        return SENT;
    }
    if (call->place == CALL_TASK) {
        return SENT_PENDING;
    }
    while (exchange_pending(call->conn) > 0) {
        PyThreadState *thread = PyEval_SaveThread();
        bool flushed = exchange_flush(call->conn);
        PyEval_RestoreThread(thread);
        if (!flushed) {
            return SENT_GONE;
        }
        if (PyErr_CheckSignals() != 0) {
            return SENT_RAISED;
        }
    }
    return SENT;
}

enum sent stream_send(struct call *call, const char *name, struct buffer *json)
{
    enum sent sent = SENT_GONE;
    struct view data = {(const char *)json->data, json->size};
    if (!call->gone && json->size > 0) { /* empty: there was no memory for what should be sent */
        sent =
            call->place == CALL_THREAD ? pool_event(call, view_of(name), data) : send_here(call, view_of(name), data);
    }
    json->size = 0;
    if (sent == SENT_GONE) {
        (void)lost(call);
    }
    return sent;
}

void stream_end(struct call *call)
{
    struct buffer *out = &call->reply->body;
    out->size = 0;
    if (!call->gone && buffer_append(out, "{}", 2) == BUFFER_OK) {
        (void)stream_send(call, "done", out);
        PyErr_Clear(); /* a signal handler's: this request is over */
    }
}
