#include "python/answer.h"

#include "base/log.h"
#include "codec/decode.h"
#include "codec/encode.h"

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

static bool answer_locked(struct answerer *answerer, const unsigned char *message, size_t size, struct buffer *reply)
{
    struct error err;
    PyObject *payload = decode(message, size, &err);
    if (payload == NULL) {
        log_warning("%s: %s", error_code(err.category), err.text);
        return refuse_error(reply, &err);
    }
    PyObject *result = payload;
    if (answerer->function != NULL) {
        result = PyObject_CallFunctionObjArgs(answerer->function, payload, NULL);
        if (getpid() != answerer->pid) {
            _exit(0); /* the function forked and returned twice: this process is not the one that answers */
        }
        Py_DECREF(payload);
    }
    if (result == NULL) {
        return refuse_exception(answerer, reply);
    }
    bool succeeded = write_result(result, reply);
    Py_DECREF(result);
    return succeeded;
}

static bool answer(void *context, const unsigned char *message, size_t size, struct buffer *reply)
{
    struct answerer *answerer = context;
    PyEval_RestoreThread(answerer->thread);
    bool succeeded = answer_locked(answerer, message, size, reply);
    answerer->thread = PyEval_SaveThread();
    return succeeded;
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
