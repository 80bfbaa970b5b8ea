#include "python/memory.h"

#include "base/forked.h"
#include "base/log.h"
#include "base/statm.h"
#include "server/service.h"

#include <Python.h>

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Stands before a function (`self`) and calls it with the soft limit lifted. These functions keep the GIL until the
 * child exists, so no other thread of Python's can interfere; the worker itself has no limit for these microseconds. */
static PyObject *memory_call_without_limit(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct rlimit limit;
    bool lifted = getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != limit.rlim_max;
    struct rlimit free = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    lifted = lifted && setrlimit(RLIMIT_DATA, &free) == 0;
    PyObject *result = PyObject_Call(self, arguments, keywords);
    if (lifted && setrlimit(RLIMIT_DATA, &limit) != 0) {
        log_error(EVENT_RUNTIME_DEGRADED, "ASYA_MEMORY_LIMIT could not be set again after a program was started");
    }
    return result;
}

static PyMethodDef call_method = {"call_without_limit", (PyCFunction)(void (*)(void))memory_call_without_limit,
                                  METH_VARARGS | METH_KEYWORDS, NULL};

static bool memory_wrap(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *original = module != NULL ? PyObject_GetAttrString(module, name) : NULL;
    PyObject *wrapper = original != NULL ? PyCFunction_New(&call_method, original) : NULL;
    bool wrapped = wrapper != NULL && PyObject_SetAttrString(module, name, wrapper) == 0;
    PyErr_Clear();
    Py_XDECREF(wrapper);
    Py_XDECREF(original);
    Py_XDECREF(module);
    return wrapped;
}

void memory_free_programs(void)
{
    if (!memory_wrap("_posixsubprocess", "fork_exec")) {
        log_warning(EVENT_RUNTIME_DEGRADED, "programs that the function starts have ASYA_MEMORY_LIMIT too");
    }
    (void)memory_wrap("os", "posix_spawn"); /* since 3.8 */
    (void)memory_wrap("os", "posix_spawnp");
}

uint64_t memory_limit(void)
{
    struct rlimit data;
    bool is_set = getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY;
    return is_set ? data.rlim_cur : 0;
}

bool memory_lacks_stack(void)
{
    uint64_t limit = memory_limit();
    struct rlimit stack;
    if (limit == 0 || getrlimit(RLIMIT_STACK, &stack) != 0) {
        return false;
    }
    uint64_t size = stack.rlim_cur == RLIM_INFINITY ? (uint64_t)8 << 20 : stack.rlim_cur;
    uint64_t used = statm_read(0, STATM_DATA);
    return used > 0 && used + size > limit;
}

/* Written before the handler is installed. */
static struct scoreboard *abort_board;
static struct sigaction abort_before;

/* In the thread that aborts: abort() sends the signal to itself. One from outside, or of a child that the function has
 * forked, says nothing of this process. */
static void memory_on_abort(int number, siginfo_t *info, void *context)
{
    (void)context;
    int kept = errno;
    if (kept == ENOMEM && info->si_code == SI_TKILL && info->si_pid == getpid() && !forked_is_child()) {
        atomic_store_explicit(&abort_board->memory_denied, MEMORY_DENIED, memory_order_relaxed);
    }
    (void)sigaction(number, &abort_before, NULL);
    errno = kept;
    long thread = syscall(SYS_gettid);
    (void)syscall(SYS_tgkill, (long)getpid(), thread, (long)number); /* not blocked here (SA_NODEFER): faulthandler
                                                                      * takes it, and shows the stacks */
}

void memory_watch_aborts(struct scoreboard *board)
{
    if (board == NULL || memory_limit() == 0) {
        return;
    }
    abort_board = board;
    struct sigaction action = {.sa_sigaction = memory_on_abort, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    if (sigaction(SIGABRT, NULL, &abort_before) != 0 || sigaction(SIGABRT, &action, NULL) != 0) {
        log_debug(EVENT_RUNTIME_DEGRADED, "aborts are not watched: %s", strerror(errno));
    }
    memory_begin();
}
