#include "python/stream.h"

static bool stream_lose(struct call *call)
{
    call->gone = true;
    return false;
}

bool stream_begin(struct call *call)
{
    call->streaming = call->runner->open(call);
    return call->streaming || stream_lose(call);
}

enum sent stream_send(struct call *call, const char *name, struct buffer *json)
{
    enum sent sent = SENT_GONE;
    if (!call->gone && json->size > 0) { /* empty: there was no memory for what should be sent */
        sent = call->runner->send(call, view_of(name), (struct view){(const char *)json->data, json->size});
    }
    call->streamed += json->size;
    json->size = 0;
    if (sent == SENT_GONE) {
        (void)stream_lose(call);
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

/* ---- in the thread of the server ----------------------------------------------------------------------------------
 */

bool stream_open_here(struct call *call) { return exchange_stream(call->conn); }

enum sent stream_send_here(struct call *call, struct view name, struct view json)
{
    if (!exchange_event(call->conn, name, json)) {
        return SENT_GONE;
    }
    return exchange_pending(call->conn) == 0 ? SENT : SENT_PENDING;
}

/* The function is what this thread runs: the handler that calls this interrupts it between two bytecodes. */
static bool stream_cancel_inline(const struct call *call, PyObject *class)
{
    (void)call;
    (void)class;
    return false;
}

/* The main thread has nothing else to do: it runs one function at a time. */
static enum sent stream_send_inline(struct call *call, struct view name, struct view json)
{
    enum sent sent = stream_send_here(call, name, json);
    while (sent == SENT_PENDING) {
        PyThreadState *thread = PyEval_SaveThread();
        bool flushed = exchange_flush(call->conn);
        PyEval_RestoreThread(thread);
        if (!flushed) {
            return SENT_GONE;
        }
        if (PyErr_CheckSignals() != 0) {
            return SENT_RAISED;
        }
        sent = exchange_pending(call->conn) == 0 ? SENT : SENT_PENDING;
    }
    return sent;
}

/* Comes only for a call that is put off (python/answer.c): one that runs waits in stream_send_inline. */
static void stream_resume_inline(struct call *call) { call->gone = call->gone || exchange_is_gone(call->conn); }

const struct runner stream_inline = {.cancel = stream_cancel_inline,
                                     .open = stream_open_here,
                                     .send = stream_send_inline,
                                     .resume = stream_resume_inline};
