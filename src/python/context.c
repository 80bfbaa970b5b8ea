#include "python/context.h"

#include "codec/pyabi.h"
#include "python/active.h"
#include "python/object.h"

struct handle {
    PyObject head;
    struct call *call; /* NULL once it has ended */
    /* copies, from then on; NULL before */
    PyObject *headers;
    PyObject *route;
    PyObject *id;
    PyObject *parent_id;
    PyObject *traceparent;
    double deadline; /* seconds; 0: none */
    bool cancelled;
};

static PyTypeObject *type;
static PyObject *variable;

/* ---- attributes ---------------------------------------------------------------------------------------------------
 */

static struct handle *context_handle_of(PyObject *self) { return (struct handle *)self; }

static PyObject *context_own_or_empty_dict(PyObject *object)
{
    return object != NULL && PyDict_Check(object) ? object_own(object) : PyDict_New();
}

static PyObject *context_own_or_empty_text(PyObject *object)
{
    return object != NULL && object != Py_None ? object_own(object) : PyUnicode_FromString("");
}

static PyObject *context_text_of(struct view view)
{
    return PyUnicode_DecodeUTF8(view.data != NULL ? view.data : "", (Py_ssize_t)view.size, "replace");
}

static struct log_request context_about(const struct call *call)
{
    return envelope_about(&call->envelope, &call->transport);
}

static PyObject *context_get_headers(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    return context_own_or_empty_dict(handle->call != NULL ? handle->call->envelope.headers : handle->headers);
}

static PyObject *context_get_route(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    return context_own_or_empty_dict(handle->call != NULL ? handle->call->envelope.route : handle->route);
}

static PyObject *context_get_parent_id(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    return context_own_or_empty_text(handle->call != NULL ? handle->call->envelope.parent_id : handle->parent_id);
}

static PyObject *context_get_id(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    return handle->call != NULL ? context_text_of(context_about(handle->call).id)
                                : context_own_or_empty_text(handle->id);
}

static PyObject *context_get_traceparent(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    return handle->call != NULL ? context_text_of(context_about(handle->call).traceparent)
                                : context_own_or_empty_text(handle->traceparent);
}

/* When the supervisor cancels; 0: never. */
static double context_deadline_of(const struct call *call)
{
    uint64_t limit = call_limit(call).at;
    return limit != CLOCK_NEVER ? (double)limit / 1e9 : 0;
}

static PyObject *context_get_deadline(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    double deadline = handle->call != NULL ? context_deadline_of(handle->call) : handle->deadline;
    if (deadline == 0) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble(deadline);
}

static PyObject *context_get_cancelled(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    const struct call *call = handle->call;
    bool cancelled = call != NULL ? call->gone || active_reason(call) != 0 : handle->cancelled;
    PyObject *answer = cancelled ? Py_True : Py_False;
    return object_own(answer);
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

static void context_dealloc(PyObject *self)
{
    struct handle *handle = context_handle_of(self);
    PyTypeObject *class = Py_TYPE(self);
    if (handle->call != NULL) {
        handle->call->handle = NULL;
    }
    Py_XDECREF(handle->headers);
    Py_XDECREF(handle->route);
    Py_XDECREF(handle->id);
    Py_XDECREF(handle->parent_id);
    Py_XDECREF(handle->traceparent);
    PyObject_Free(self);
    Py_DECREF(class); /* PyType_GenericAlloc took it */
}

PyObject *context_of(struct call *call)
{
    if (call->handle != NULL) {
        return object_own((PyObject *)call->handle);
    }
    PyObject *made = PyType_GenericAlloc(type, 0);
    if (made != NULL) {
        context_handle_of(made)->call = call;
        call->handle = context_handle_of(made); /* borrowed: the first to go clears the other's pointer */
    }
    return made;
}

struct call *context_call(PyObject *object) { return Py_TYPE(object) == type ? context_handle_of(object)->call : NULL; }

void context_use_variable(PyObject *new_variable) { variable = new_variable; }

void context_move(struct call *call)
{
    if (call->handle != NULL) {
        call->handle->call = call;
    }
}

void context_end(struct call *call)
{
    struct handle *handle = call->handle;
    if (handle == NULL) {
        return;
    }
    const struct envelope *envelope = &call->envelope;
    handle->headers = object_own(envelope->headers);
    handle->route = object_own(envelope->route);
    handle->parent_id = object_own(envelope->parent_id);
    struct log_request about = context_about(call);
    handle->id = about.id.size > 0 ? context_text_of(about.id) : NULL;
    handle->traceparent = about.traceparent.size > 0 ? context_text_of(about.traceparent) : NULL;
    PyErr_Clear(); /* without memory they are empty */
    handle->deadline = context_deadline_of(call);
    handle->cancelled = call->gone || active_reason(call) != 0;
    handle->call = NULL;
    call->handle = NULL;
}

/* ---- the function -------------------------------------------------------------------------------------------------
 */

PyDoc_STRVAR(context_doc, "context() -> Context\n--\n\n"
                          "What is known of the request this function works on: id, parent_id, headers, route,\n"
                          "traceparent, deadline (as time.monotonic() counts, or None) and cancelled. None outside of\n"
                          "a request.");

static PyObject *context_here(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    struct call *here = active_here();
    if (here != NULL) {
        return context_of(here);
    }
    if (variable == NULL) {
        Py_RETURN_NONE;
    }
    return PyObject_CallMethod(variable, "get", "O", Py_None);
}

int context_add(PyObject *module)
{
    static PyGetSetDef attributes[] = {
        {"id", context_get_id, NULL, "The request's id.", NULL},
        {"parent_id", context_get_parent_id, NULL, "Its parent's id.", NULL},
        {"headers", context_get_headers, NULL, "The message's headers.", NULL},
        {"route", context_get_route, NULL, "The message's route.", NULL},
        {"traceparent", context_get_traceparent, NULL, "W3C Trace Context.", NULL},
        {"deadline", context_get_deadline, NULL, "time.monotonic() at which the function is cancelled, or None.", NULL},
        {"cancelled", context_get_cancelled, NULL, "Whether the function is asked to stop.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static char type_doc[] = "What is known of a request.";
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, (void *)context_dealloc}, {Py_tp_getset, attributes}, {Py_tp_doc, type_doc}, {0, NULL}};
    static PyType_Spec spec = {.name = "asya_runtime.Context",
                               .basicsize = sizeof(struct handle),
                               .flags = Py_TPFLAGS_DEFAULT,
                               .slots = slots};
    static PyMethodDef method = {"context", context_here, METH_NOARGS, context_doc};
    type = (PyTypeObject *)PyType_FromSpec(&spec);
    PyObject *function = type != NULL ? PyCFunction_New(&method, NULL) : NULL;
    return function != NULL ? PyModule_AddObject(module, "context", function) : -1;
}
