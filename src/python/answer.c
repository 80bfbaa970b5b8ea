#include "python/answer.h"

#include "base/log.h"
#include "codec/decode.h"
#include "codec/encode.h"
#include "python/cancel.h"
#include "server/cancel.h"

#include <unistd.h>

/* An error reply; leaves `reply` empty if there is no memory even for that. Always false, as answer() returns. */
static bool refuse(struct buffer *reply, enum error_category category, struct view text, struct view type)
{
    if (reply_error(reply, category, text, type) != BUFFER_OK) {
        reply->size = 0;
    }
    return false;
}

static bool refuse_error(struct buffer *reply, const struct error *err)
{
    return refuse(reply, err->category, view_of(err->text), view_of(err->type));
}

static bool refuse_exception(struct answerer *answerer, struct buffer *reply)
{
    struct failure *failure = &answerer->failure;
    failure_take(failure);
    return refuse(reply, failure->category, (struct view){failure->text, failure->text_size},
                  (struct view){failure->type, failure->type_size});
}

/* The result into `reply`. */
static bool write_result(PyObject *result, struct buffer *reply)
{
    struct error err;
    error_set(&err, ERR_MEMORY, 0, "no memory for the reply");
    if (reply_success_begin(reply) == BUFFER_OK && encode(result, "result", reply, &err) &&
        reply_success_end(reply) == BUFFER_OK) {
        return true;
    }
    log_error("%s: %s%s%s", error_code(err.category), err.type, err.type[0] != '\0' ? ": " : "", err.text);
    return refuse_error(reply, &err);
}

/* Calls the function. New reference, or NULL with the exception set. */
static PyObject *call(const struct answerer *answerer, PyObject *payload)
{
    if (answerer->function == NULL) {
        Py_INCREF(payload);
        return payload;
    }
    PyObject *result = PyObject_CallFunctionObjArgs(answerer->function, payload, NULL);
    if (getpid() != answerer->pid) {
        _exit(0); /* the function forked and returned twice: this process is not the one that answers */
    }
    return result;
}

static bool answer_locked(struct answerer *answerer, const struct request *request, struct buffer *reply)
{
    struct error err;
    PyObject *payload = decode(request->message, request->size, &err);
    if (payload == NULL) {
        if (err.category == ERR_MEMORY) {
            log_error("%s: %s", error_code(err.category), err.text);
        } else { /* the client's mistake, which it is told of */
            log_warning("%s: %s", error_code(err.category), err.text);
        }
        return refuse_error(reply, &err);
    }
    cancel_begin(request);
    PyObject *result = call(answerer, payload);
    uint32_t cancelled = cancel_end();
    Py_DECREF(payload);
    if (cancelled == CANCEL_TIMEOUT) { /* whatever it returned or raised: it was asked to stop for this */
        PyErr_Clear();
        Py_XDECREF(result);
        cancel_timeout_error(&err, answerer->timeout);
        return refuse_error(reply, &err);
    }
    if (result == NULL) {
        return refuse_exception(answerer, reply);
    }
    bool succeeded = write_result(result, reply);
    Py_DECREF(result);
    return succeeded;
}

static enum service_status answer(void *context, const struct request *request, struct reply *reply)
{
    struct answerer *answerer = context;
    PyEval_RestoreThread(answerer->thread);
    reply->succeeded = answer_locked(answerer, request, &reply->body);
    answerer->thread = PyEval_SaveThread();
    return SERVICE_DONE;
}

/* Runs signal handlers the user's module has set; what they raise has no request to go to. */
static void interrupted(void *context)
{
    struct answerer *answerer = context;
    PyEval_RestoreThread(answerer->thread);
    if (PyErr_CheckSignals() != 0) {
        char text[256];
        PyObject *type;
        PyObject *value;
        PyObject *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        (void)failure_text_of(type, text, sizeof text);
        log_warning("a signal handler raised %s between requests; it was ignored", text);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    answerer->thread = PyEval_SaveThread();
}

struct service answer_service(struct answerer *answerer)
{
    return (struct service){.context = answerer, .answer = answer, .interrupted = interrupted};
}
