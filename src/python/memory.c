#include "python/memory.h"

#include "base/forked.h"
#include "base/log.h"
#include "base/statm.h"
#include "server/service.h"

#include <Python.h>

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What is limited: RLIMIT_DATA, or RLIMIT_AS and how much of that is no allocation. Written by memory_set_limit. */
static unsigned memory_resource = RLIMIT_DATA;
static uint64_t memory_beside;

/* Stands before a function (`self`) and calls it with the soft limit lifted. These functions keep the GIL until the
 * child exists, so no other thread of Python's can interfere; the worker itself has no limit for these microseconds. */
static PyObject *memory_call_without_limit(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct rlimit limit;
    bool lifted = getrlimit(memory_resource, &limit) == 0 && limit.rlim_cur != limit.rlim_max;
    struct rlimit free = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    lifted = lifted && setrlimit(memory_resource, &free) == 0;
    PyObject *result = PyObject_Call(self, arguments, keywords);
    if (lifted && setrlimit(memory_resource, &limit) != 0) {
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

static void memory_free_programs(void)
{
    if (!memory_wrap("_posixsubprocess", "fork_exec")) {
        log_warning(EVENT_RUNTIME_DEGRADED, "programs that the function starts have ASYA_MEMORY_LIMIT too");
    }
    (void)memory_wrap("os", "posix_spawn"); /* since 3.8 */
    (void)memory_wrap("os", "posix_spawnp");
}

/* Whether an allocation of so many bytes is refused. Reserved only, so not for want of memory, unless the
 * system overcommits none (vm.overcommit_memory=2): a limit that is not enforced is missed there. */
static bool memory_refuses(uint64_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *mapped = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    return mapped == MAP_FAILED || munmap(mapped, (size_t)bytes) != 0;
}

/* Sets the soft limit, and leaves it so if the system enforces it: something is mapped already, so an allocation as
 * large as the limit goes beyond it. */
static bool memory_try_limit(unsigned resource, uint64_t bytes)
{
    struct rlimit before;
    if (getrlimit(resource, &before) != 0) {
        return false;
    }
    struct rlimit limit = {.rlim_cur = bytes < before.rlim_max ? bytes : before.rlim_max, .rlim_max = before.rlim_max};
    if (setrlimit(resource, &limit) != 0) {
        return false;
    }
    if (memory_refuses(limit.rlim_cur)) {
        return true;
    }
    (void)setrlimit(resource, &before);
    return false;
}

void memory_set_limit(uint64_t bytes)
{
    if (!memory_try_limit(RLIMIT_DATA, bytes)) {
        uint64_t mapped = statm_read(0, STATM_MAPPED);
        uint64_t beside = mapped - statm_read(0, STATM_DATA);
        if (mapped == 0 || !memory_try_limit(RLIMIT_AS, bytes + beside)) {
            log_warning(EVENT_SETTING_IGNORED, "ASYA_MEMORY_LIMIT has no effect: this system does not enforce it");
            return;
        }
        memory_resource = RLIMIT_AS;
        memory_beside = beside;
        log_info(EVENT_SETTING_DERIVED,
                 "ASYA_MEMORY_LIMIT counts all that is mapped, files too (RLIMIT_AS): this system "
                 "does not enforce RLIMIT_DATA");
    }
    memory_free_programs();
}

uint64_t memory_limit(void)
{
    struct rlimit limit;
    bool is_set = getrlimit(memory_resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return is_set && limit.rlim_cur > memory_beside ? limit.rlim_cur - memory_beside : 0;
}

bool memory_lacks_stack(void)
{
    uint64_t limit = memory_limit();
    struct rlimit stack;
    if (limit == 0 || getrlimit(RLIMIT_STACK, &stack) != 0) {
        return false;
    }
    uint64_t size = stack.rlim_cur == RLIM_INFINITY ? (uint64_t)8 << 20 : stack.rlim_cur;
    uint64_t used = statm_read(0, memory_resource == RLIMIT_AS ? STATM_MAPPED : STATM_DATA);
    return used > 0 && used + size > limit + memory_beside;
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
