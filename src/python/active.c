#include "python/active.h"

#include "base/log.h"
#include "python/stacks.h"
#include "server/cancel.h"

#include <errno.h>
#include <pythread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The path of a cancellation, from the supervisor to the function:
 *
 *   supervisor     writes the reason and the request's number into the request's slot, then sends CANCEL_SIGNAL
 *   any thread     active_on_signal: passes the signal on to the main thread if it has hit another one; has CPython
 *                  make a note of it, and wakes the server if the main thread waits there
 *   main thread    the interpreter, between two bytecodes, or the server's loop (active_take_news) calls
 *                  active_on_cancel, which tells each call whose slot names it
 *   the function   sees the exception where its runner has it raised
 *
 * `told` is set once and stays: a call is told at most once, whether by a cancellation or because its client is gone.
 * The list holds calls of all threads, and it and the calls' marks are changed with the GIL held only. A call leaves it
 * when its function has ended, and what it was told then but has not come to is taken back.
 */

static PyObject *timeout_class;
static PyObject *gone_class;
static PyObject *stopping_class;
static struct call *first;

uint32_t active_reason(const struct call *call)
{
    if (call->slot == NULL || atomic_load_explicit(&call->slot->cancel, memory_order_acquire) != call->sequence) {
        return 0;
    }
    return atomic_load_explicit(&call->slot->reason, memory_order_relaxed);
}

static PyObject *active_class_of(uint32_t reason)
{
    return reason == CANCEL_TIMEOUT ? timeout_class : reason == CANCEL_STOPPING ? stopping_class : gone_class;
}

bool active_is_obeyed(const struct call *call)
{
    if (!call->gone && active_reason(call) != CANCEL_CLIENT_GONE) {
        return false;
    }
    PyObject *raised = PyErr_Occurred(); /* borrowed */
    return raised != NULL && (PyErr_GivenExceptionMatches(raised, gone_class) != 0 ||
                              (call->runner->is_cancelled != NULL && call->runner->is_cancelled(raised)));
}

/* Raises the exception here. */
static bool active_raise(uint32_t reason)
{
    PyErr_SetString(active_class_of(reason),
                    reason == CANCEL_TIMEOUT    ? "the function ran longer than ASYA_HANDLER_TIMEOUT"
                    : reason == CANCEL_STOPPING ? "the runtime stops: ASYA_GRACE_PERIOD is over"
                                                : "the client closed its connection");
    return false;
}

/* Writes where the call is, before it is told: afterwards it would be seen cleaning up. */
static void active_show(const struct call *call, uint32_t reason, PyObject *arguments)
{
    PyObject *frame = PyTuple_GetItem(arguments, 1); /* borrowed: what the main thread runs */
    if (reason != CANCEL_CLIENT_GONE && frame != NULL) {
        stacks_write(call, frame);
    }
    PyErr_Clear();
}

/* Tells one call. False if it was told by an exception set in this thread. */
static bool active_tell(struct call *call, uint32_t reason)
{
    call->told = true;
    return call->runner->cancel(call, active_class_of(reason)) || active_raise(reason);
}

/* Python-level handler of CANCEL_SIGNAL. The interpreter calls it in the main thread, some time after the signal, so
 * it looks which of the cancelled calls still run. */
static PyObject *active_on_cancel(PyObject *self, PyObject *arguments)
{
    (void)self;
    for (struct call *call = first; call != NULL; call = call->next) {
        uint32_t reason = call->told ? 0 : active_reason(call);
        if (reason == 0) {
            continue;
        }
        call->told = true; /* a second signal while the stacks are written must not tell it again */
        active_show(call, reason, arguments);
        /* A thread may have ended its call while the stacks were written. It is freed by this thread only, in the
         * server. */
        if (call->active && !active_tell(call, reason)) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

void active_tell_gone(struct call *call)
{
    call->gone = true;
    if (call->active && !call->told) {
        (void)active_tell(call, CANCEL_CLIENT_GONE);
        PyErr_Clear(); /* set for a task that holds up the loop; none does, since this runs in the loop */
    }
}

static void active_take_back(const struct call *call)
{
    if (call->told && call->runner->take_back != NULL) {
        call->runner->take_back(call);
    }
}

void active_told(struct call *call)
{
    active_take_back(call);
    call->told = true;
}

void active_add(struct call *call)
{
    call->thread = PyThread_get_thread_ident();
    call->active = true;
    call->previous = NULL;
    call->next = first;
    if (first != NULL) {
        first->previous = call;
    }
    first = call;
}

uint32_t active_remove(struct call *call)
{
    if (!call->active) {
        return 0;
    }
    call->active = false;
    *(call->previous != NULL ? &call->previous->next : &first) = call->next;
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    active_take_back(call); /* an exception that it has not come to yet would hit the next call of this thread */
    return active_reason(call);
}

bool active_any(void) { return first != NULL; }

struct call *active_here(void)
{
    unsigned long thread = PyThread_get_thread_ident();
    for (struct call *call = first; call != NULL; call = call->next) {
        if (call->runner->task == NULL && call->thread == thread) {
            return call;
        }
    }
    return NULL;
}

/* ---- set-up -------------------------------------------------------------------------------------------------------
 */

static PyMethodDef on_cancel_method = {"on_cancel", active_on_cancel, METH_VARARGS, NULL};

/* One reference for the module, one for us. */
static bool active_add_class(PyObject *module, const char *name, PyObject **ret_class)
{
    char full[64];
    (void)PyOS_snprintf(full, sizeof full, "asya_runtime.%s", name);
    *ret_class = PyErr_NewException(full, PyExc_BaseException, NULL);
    Py_XINCREF(*ret_class);
    return *ret_class != NULL && PyModule_AddObject(module, name, *ret_class) == 0;
}

int active_add_exceptions(PyObject *module)
{
    bool added = active_add_class(module, "HandlerTimeout", &timeout_class) &&
                 active_add_class(module, "ClientGone", &gone_class) &&
                 active_add_class(module, "ShuttingDown", &stopping_class);
    return added ? 0 : -1;
}

static void (*python_handler)(int); /* the same function for all signals */
static struct server *volatile waiting;
static _Atomic bool news;

/* CPython's own handler only makes a note, which is not enough when the main thread waits in the server: so that is
 * woken. And the kernel may give the signal to another thread: it does so while the main one still has STACK_SIGNAL
 * to take, which is sent just before. That would not interrupt the sleep or read that the function is in, so the
 * signal is passed on to the main thread. */
static void active_on_signal(int number)
{
    int kept = errno;
    long process = getpid();
    if (syscall(SYS_gettid) != process) {
        (void)syscall(SYS_tgkill, process, process, (long)number);
    }
    struct server *server = waiting;
    python_handler(number);
    atomic_store_explicit(&news, true, memory_order_release);
    if (server != NULL) {
        server_wake(server);
    }
    errno = kept;
}

void active_wake(struct server *server) { waiting = server; }

bool active_take_news(void) { return atomic_exchange_explicit(&news, false, memory_order_acquire); }

/* Puts `handler` before what is installed. */
static bool active_chain_signal(int number, int flags, void (*handler)(int), void (**ret_before)(int))
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) != 0 || action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
        return false;
    }
    if (action.sa_handler == handler) {
        return true; /* the template has done it */
    }
    *ret_before = action.sa_handler;
    action.sa_handler = handler;
    action.sa_flags |= flags;
    return sigaction(number, &action, NULL) == 0;
}

bool active_install_handler(int number, PyMethodDef *method, int flags)
{
    PyObject *module = PyImport_ImportModule("_signal");
    PyObject *handler = module != NULL ? PyCFunction_New(method, NULL) : NULL;
    PyObject *done = handler != NULL ? PyObject_CallMethod(module, "signal", "iO", number, handler) : NULL;
    bool installed = done != NULL && active_chain_signal(number, flags, active_on_signal, &python_handler);
    Py_XDECREF(done);
    Py_XDECREF(handler);
    Py_XDECREF(module);
    return installed;
}

static void (*stacks_handler)(int);

/* The handler of faulthandler leaves 0 in errno (CPython 3.7 to 3.15). Where it came between a call that failed and the
 * look at the reason, the server took "nothing there yet" for the end of a connection. */
static void active_on_stacks(int number)
{
    int kept = errno;
    stacks_handler(number);
    errno = kept;
}

/* faulthandler writes from a C signal handler, so also while C code holds the GIL. */
static bool active_install_stacks(int stack)
{
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *enabled = module != NULL ? PyObject_CallMethod(module, "enable", "i", stack) : NULL;
    PyObject *registered = enabled != NULL ? PyObject_CallMethod(module, "register", "ii", STACK_SIGNAL, stack) : NULL;
    bool installed = registered != NULL && active_chain_signal(STACK_SIGNAL, 0, active_on_stacks, &stacks_handler);
    Py_XDECREF(registered);
    Py_XDECREF(enabled);
    Py_XDECREF(module);
    return installed;
}

void active_install(int stack)
{
    stacks_use(stack);
    if (!active_install_handler(CANCEL_SIGNAL, &on_cancel_method, 0) || !active_install_stacks(stack)) {
        PyErr_Clear();
        log_warning(
            EVENT_RUNTIME_DEGRADED,
            "a function that runs too long may be killed with its worker, and without its stack: a signal cannot "
            "be taken (sigaction, sigaltstack)");
    }
}
