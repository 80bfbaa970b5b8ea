#include "python/cancel.h"

#include "base/log.h"
#include "server/cancel.h"

static PyObject *timeout_class;
static PyObject *gone_class;

/* The request whose function runs, or NULL. Written by the main thread only. */
static const struct request *current;

/* The reason if the supervisor has cancelled `request`. */
static uint32_t cancelled(const struct request *request)
{
    if (request == NULL || request->slot == NULL ||
        atomic_load_explicit(&request->slot->cancel, memory_order_acquire) != request->sequence) {
        return 0;
    }
    return atomic_load_explicit(&request->slot->reason, memory_order_relaxed);
}

/* Python-level handler of CANCEL_SIGNAL. It runs when the interpreter gets to it, so it asks whether the request that
 * was meant is still the one that runs. */
static PyObject *on_cancel(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    switch (cancelled(current)) {
    case CANCEL_TIMEOUT:
        PyErr_SetString(timeout_class, "the function ran longer than ASYA_HANDLER_TIMEOUT");
        return NULL;
    case CANCEL_CLIENT_GONE:
        PyErr_SetString(gone_class, "the client closed its connection");
        return NULL;
    default:
        Py_RETURN_NONE;
    }
}

static PyMethodDef on_cancel_method = {"on_cancel", on_cancel, METH_VARARGS, NULL};

int cancel_add_exceptions(PyObject *module)
{
    timeout_class = PyErr_NewException("asya_runtime.HandlerTimeout", PyExc_BaseException, NULL);
    gone_class = PyErr_NewException("asya_runtime.ClientGone", PyExc_BaseException, NULL);
    if (timeout_class == NULL || gone_class == NULL) {
        return -1;
    }
    Py_INCREF(timeout_class); /* one for the module, one for us */
    Py_INCREF(gone_class);
    if (PyModule_AddObject(module, "HandlerTimeout", timeout_class) != 0 ||
        PyModule_AddObject(module, "ClientGone", gone_class) != 0) {
        return -1;
    }
    return 0;
}

static bool install_signal(void)
{
    PyObject *module = PyImport_ImportModule("_signal");
    PyObject *handler = module != NULL ? PyCFunction_New(&on_cancel_method, NULL) : NULL;
    PyObject *done = handler != NULL ? PyObject_CallMethod(module, "signal", "iO", CANCEL_SIGNAL, handler) : NULL;
    bool installed = done != NULL;
    Py_XDECREF(done);
    Py_XDECREF(handler);
    Py_XDECREF(module);
    return installed;
}

/* faulthandler writes from a C signal handler, so also while C code holds the GIL. */
static bool install_stacks(int stack)
{
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *enabled = module != NULL ? PyObject_CallMethod(module, "enable", "i", stack) : NULL;
    PyObject *registered = enabled != NULL ? PyObject_CallMethod(module, "register", "ii", STACK_SIGNAL, stack) : NULL;
    bool installed = registered != NULL;
    Py_XDECREF(registered);
    Py_XDECREF(enabled);
    Py_XDECREF(module);
    return installed;
}

void cancel_install(int stack)
{
    if (!install_signal() || !install_stacks(stack)) {
        PyErr_Clear();
        log_warning("functions cannot be cancelled softly here: one that runs too long is killed with its worker");
    }
}

void cancel_begin(const struct request *request) { current = request; }

uint32_t cancel_end(void)
{
    uint32_t reason = cancelled(current);
    current = NULL;
    return reason;
}
