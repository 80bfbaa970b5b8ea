#include "python/memory.h"

#include "base/log.h"
#include "base/statm.h"

#include <Python.h>

#include <stdint.h>
#include <sys/resource.h>

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
        log_error("ASYA_MEMORY_LIMIT could not be set again after a program was started");
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
        log_warning("programs that the function starts have ASYA_MEMORY_LIMIT too");
    }
    (void)memory_wrap("os", "posix_spawn"); /* since 3.8 */
    (void)memory_wrap("os", "posix_spawnp");
}

bool memory_lacks_stack(void)
{
    struct rlimit data;
    struct rlimit stack;
    if (getrlimit(RLIMIT_DATA, &data) != 0 || getrlimit(RLIMIT_STACK, &stack) != 0 || data.rlim_cur == RLIM_INFINITY) {
        return false;
    }
    uint64_t size = stack.rlim_cur == RLIM_INFINITY ? (uint64_t)8 << 20 : stack.rlim_cur;
    uint64_t used = statm_read(0, STATM_DATA);
    return used > 0 && used + size > data.rlim_cur;
}
