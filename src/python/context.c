#include "python/context.h"

#include "base/log.h"
#include "codec/pyabi.h"
#include "python/active.h"
#include "python/object.h"

#include <pythread.h>

/*
 * Which request a thread works on is known in two ways:
 *
 *   by the thread     a plain function has its thread to itself, so the list of active calls tells (active_here). This
 *                     costs a request nothing.
 *   by `variable`     wherever the context of contextvars has been copied: in tasks, and in the function's own threads
 *
 * Tasks set the variable when they begin (glue/loop.py). For a plain function it is set when the context is first
 * copied, by a copy_context() of ours that calls Python's. Setting it for every request would cost 950 instructions
 * and the handle's making, of the 10,000 that a worker spends on a message of 93 bytes (CPython 3.11, callgrind).
 */

struct handle {
    PYABI_HEAD
    struct call *call; /* NULL once it has ended */
    /* copies, from then on; NULL before */
    PyObject *headers;
    PyObject *route;
    PyObject *id;
    PyObject *parent_id;
    PyObject *traceparent;
    PyObject *tracestate;
    double deadline; /* seconds; 0: none */
    bool cancelled;
};

static PyTypeObject *type;
static PyObject *variable; /* the ContextVar; NULL: this is no worker */
static PyObject *get_variable;
static PyObject *set_variable;
static PyObject *copy_context; /* Python's own */
static unsigned long main_thread;

/* ---- attributes ---------------------------------------------------------------------------------------------------
 */

static struct handle *context_handle_of(PyObject *self) { return PYABI_OWN(self, type); }

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

static PyObject *context_get_tracestate(PyObject *self, void *closure)
{
    (void)closure;
    const struct handle *handle = context_handle_of(self);
    return handle->call != NULL ? context_text_of(context_about(handle->call).tracestate)
                                : context_own_or_empty_text(handle->tracestate);
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

static PyObject *context_get_ended(PyObject *self, void *closure)
{
    (void)closure;
    PyObject *answer = context_handle_of(self)->call == NULL ? Py_True : Py_False;
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
    Py_XDECREF(handle->tracestate);
    PyObject_Free(self);
    Py_DECREF(class); /* PyType_GenericAlloc took it */
}

PyObject *context_of(struct call *call)
{
    if (call->handle != NULL) {
        return object_own(call->handle);
    }
    PyObject *made = PyType_GenericAlloc(type, 0);
    if (made != NULL) {
        context_handle_of(made)->call = call;
        call->handle = made; /* borrowed: the first to go clears the other's pointer */
    }
    return made;
}

struct call *context_call(PyObject *object) { return Py_TYPE(object) == type ? context_handle_of(object)->call : NULL; }

void context_move(struct call *call)
{
    if (call->handle != NULL) {
        context_handle_of(call->handle)->call = call;
    }
}

void context_end(struct call *call)
{
    if (call->handle == NULL) {
        return;
    }
    struct handle *handle = context_handle_of(call->handle);
    const struct envelope *envelope = &call->envelope;
    handle->headers = object_own(envelope->headers);
    handle->route = object_own(envelope->route);
    handle->parent_id = object_own(envelope->parent_id);
    struct log_request about = context_about(call);
    handle->id = about.id.size > 0 ? context_text_of(about.id) : NULL;
    handle->traceparent = about.traceparent.size > 0 ? context_text_of(about.traceparent) : NULL;
    handle->tracestate = about.tracestate.size > 0 ? context_text_of(about.tracestate) : NULL;
    PyErr_Clear(); /* without memory they are empty */
    handle->deadline = context_deadline_of(call);
    handle->cancelled = call->gone || active_reason(call) != 0;
    handle->call = NULL;
    call->handle = NULL;
}

/* ---- which request -----------------------------------------------------------------------------------------------
 */

PyObject *context_variable(void) { return variable; }

/* What the variable holds here. New reference, None if that is nothing, or NULL with an exception. */
static PyObject *context_carried(void)
{
    return variable != NULL ? PyObject_CallFunctionObjArgs(get_variable, Py_None, NULL) : object_none();
}

PyObject *context_find(void)
{
    PyObject *carried = context_carried(); /* first: a function may run code in the context of another request */
    struct call *here = carried == Py_None ? active_here() : NULL;
    if (here == NULL) {
        return carried;
    }
    Py_DECREF(carried);
    return context_of(here);
}

/* Sets the variable unless it is set. 0, or -1 with an exception. */
static int context_set(struct call *call)
{
    PyObject *carried = context_carried();
    PyObject *made = carried == Py_None ? context_of(call) : NULL;
    PyObject *token = made != NULL ? PyObject_CallFunctionObjArgs(set_variable, made, NULL) : NULL;
    int status = token != NULL || (carried != NULL && carried != Py_None) ? 0 : -1;
    Py_XDECREF(token);
    Py_XDECREF(made);
    Py_XDECREF(carried);
    return status;
}

void context_carry(struct call *call)
{
    if (variable != NULL && context_set(call) != 0) {
        PyErr_Clear();
    }
}

/* copy_context(): Python's, after the variable was set. */
static PyObject *context_copy(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    struct call *here = active_here();
    return here == NULL || context_set(here) == 0 ? PyObject_CallFunctionObjArgs(copy_context, NULL) : NULL;
}

PyDoc_STRVAR(copy_doc,
             "copy_context()\n--\n\nReturn a copy of the current Context, with the request this thread works on.");

/* Puts ours where Python has its own. The module contextvars takes it from _contextvars; it is there already if
 * something was imported before the function, such as sitecustomize. */
static bool context_replace_copy(PyObject *module)
{
    static PyMethodDef method = {"copy_context", context_copy, METH_NOARGS, copy_doc};
    PyObject *name = PyUnicode_FromString("_contextvars");
    PyObject *ours = name != NULL ? PyCFunction_NewEx(&method, NULL, name) : NULL;
    PyObject *imported = PyDict_GetItemString(PyImport_GetModuleDict(), "contextvars"); /* borrowed */
    bool done = ours != NULL && PyObject_SetAttrString(module, "copy_context", ours) == 0 &&
                (imported == NULL || PyObject_SetAttrString(imported, "copy_context", ours) == 0);
    Py_XDECREF(ours);
    Py_XDECREF(name);
    return done;
}

void context_install(void)
{
    main_thread = PyThread_get_thread_ident();
    PyObject *module = PyImport_ImportModule("_contextvars");
    copy_context = module != NULL ? PyObject_GetAttrString(module, "copy_context") : NULL;
    variable = copy_context != NULL ? PyObject_CallMethod(module, "ContextVar", "s", "asya_runtime.request") : NULL;
    get_variable = variable != NULL ? PyObject_GetAttrString(variable, "get") : NULL;
    set_variable = get_variable != NULL ? PyObject_GetAttrString(variable, "set") : NULL;
    if (set_variable == NULL || !context_replace_copy(module)) {
        PyErr_Clear();
        log_warning(EVENT_RUNTIME_DEGRADED, "asya_runtime.context() does not work in threads that the function starts: "
                                            "the hook could not be installed");
    }
    Py_XDECREF(module);
}

/* ---- the function -------------------------------------------------------------------------------------------------
 */

PyDoc_STRVAR(context_doc,
             "context() -> Context\n--\n\n"
             "What is known of the request this function works on: id, parent_id, headers, route,\n"
             "traceparent, tracestate, deadline (as time.monotonic() counts, or None), cancelled and ended. None\n"
             "outside of a request.");

/* Says once how a thread of the function's learns of its request. */
static int context_warn(void)
{
    static bool warned;
    if (warned || variable == NULL || !active_any() || PyThread_get_thread_ident() == main_thread) {
        return 0;
    }
    warned = true;
    return PyErr_WarnEx(PyExc_RuntimeWarning,
                        "asya_runtime.context() is None in this thread, which runs in no request's context; start its "
                        "work with contextvars.copy_context().run, called in the request, or with asyncio.to_thread",
                        1);
}

static PyObject *context_here(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    PyObject *found = context_find();
    if (found == Py_None && context_warn() != 0) { /* warnings are errors here */
        Py_CLEAR(found);
    }
    return found;
}

int context_add(PyObject *module)
{
    static PyGetSetDef attributes[] = {
        {"id", context_get_id, NULL, "The request's id.", NULL},
        {"parent_id", context_get_parent_id, NULL, "Its parent's id.", NULL},
        {"headers", context_get_headers, NULL, "The message's headers.", NULL},
        {"route", context_get_route, NULL, "The message's route.", NULL},
        {"traceparent", context_get_traceparent, NULL, "W3C Trace Context.", NULL},
        {"tracestate", context_get_tracestate, NULL, "What goes with it.", NULL},
        {"deadline", context_get_deadline, NULL, "time.monotonic() at which the function is cancelled, or None.", NULL},
        {"cancelled", context_get_cancelled, NULL, "Whether the function is asked to stop.", NULL},
        {"ended", context_get_ended, NULL, "Whether the function is through with the request.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static char type_doc[] = "What is known of a request.";
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, (void *)context_dealloc}, {Py_tp_getset, attributes}, {Py_tp_doc, type_doc}, {0, NULL}};
    static PyType_Spec spec = {.name = "asya_runtime.Context",
                               .basicsize = PYABI_BASIC_SIZE(struct handle),
                               .flags = Py_TPFLAGS_DEFAULT,
                               .slots = slots};
    static PyMethodDef method = {"context", context_here, METH_NOARGS, context_doc};
    type = (PyTypeObject *)PyType_FromSpec(&spec);
    PyObject *function = type != NULL ? PyCFunction_New(&method, NULL) : NULL;
    return function != NULL ? PyModule_AddObject(module, "context", function) : -1;
}
