#include "app/resources.h"

#include "base/fd.h"
#include "base/log.h"
#include "python/memory.h"
#include "server/conn.h"
#include "supervisor/cgroup.h"

#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    OOM_SCORE_MORE = 100,
    OOM_SCORE_MAX = 1000,
    BUFFERED_PART = 4, /* of a worker's memory is for requests that arrive or wait; the function has the rest */
};
#define BUFFERED_DEFAULT (UINT64_C(256) << 20)

static void limit_memory(const struct options *options)
{
    uint64_t bytes = cgroup_share(&options->memory_limit);
    cgroup_warn_of_share(&options->memory_limit, "ASYA_MEMORY_LIMIT");
    if (bytes > 0) {
        memory_set_limit(bytes);
    }
}

/* A little above the supervisor's, so that the kernel picks the worker first, but not so much that it picks this
 * container before others on the node. A process may always raise its own score. */
static void raise_oom_score(void)
{
    FD_SCOPED int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char text[16];
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (got <= 0) {
        return; /* no /proc: the kernel decides by size alone */
    }
    text[got] = '\0';
    bool negative = text[0] == '-';
    int score = 0;
    for (const char *digit = text + negative; *digit >= '0' && *digit <= '9'; digit++) {
        score = score * 10 + (*digit - '0');
    }
    score = (negative ? -score : score) + OOM_SCORE_MORE;
    int size = snprintf(text, sizeof text, "%d", score < OOM_SCORE_MAX ? score : OOM_SCORE_MAX);
    if (size > 0 && pwrite(fd, text, (size_t)size, 0) < 0) {
        log_debug(EVENT_RUNTIME_DEGRADED, "the OOM score cannot be raised: %s", strerror(errno));
    }
}

/* os.environ[name] = value unless it is set. Through os.environ, so that Python and C code both see it. */
static bool set_default(PyObject *environment, const char *name, const char *value)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *text = PyUnicode_FromString(value);
    int present = key != NULL && text != NULL ? PySequence_Contains(environment, key) : -1;
    bool done = present == 1 || (present == 0 && PyObject_SetItem(environment, key, text) == 0);
    Py_XDECREF(text);
    Py_XDECREF(key);
    return done;
}

void resources_name_worker(uint32_t index)
{
    char value[16];
    (void)snprintf(value, sizeof value, "%u", (unsigned)index);
    PyObject *os = PyImport_ImportModule("os");
    PyObject *environment = os != NULL ? PyObject_GetAttrString(os, "environ") : NULL;
    PyObject *key = PyUnicode_FromString("ASYA_WORKER");
    PyObject *text = PyUnicode_FromString(value);
    if (environment == NULL || key == NULL || text == NULL || PyObject_SetItem(environment, key, text) != 0) {
        log_warning(EVENT_RUNTIME_DEGRADED, "ASYA_WORKER cannot be set");
    }
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(key);
    Py_XDECREF(environment);
    Py_XDECREF(os);
}

static void limit_threads(const struct options *options)
{
    static const char *const names[] = {"OMP_NUM_THREADS",     "MKL_NUM_THREADS",  "OPENBLAS_NUM_THREADS",
                                        "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
                                        "RAYON_NUM_THREADS"};
    uint64_t millis;
    if (!cgroup_cpu_quota(&millis)) {
        return;
    }
    uint64_t share = millis / options->workers;
    uint64_t threads = share < 1000 ? 1 : (share + 999) / 1000;
    char value[24];
    (void)snprintf(value, sizeof value, "%llu", (unsigned long long)threads);
    PyObject *os = PyImport_ImportModule("os");
    PyObject *environment = os != NULL ? PyObject_GetAttrString(os, "environ") : NULL;
    for (size_t i = 0; environment != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (!set_default(environment, names[i], value)) {
            log_warning(EVENT_RUNTIME_DEGRADED, "%s cannot be set", names[i]);
            PyErr_Clear();
        }
    }
    PyErr_Clear();
    Py_XDECREF(environment);
    Py_XDECREF(os);
    log_info(EVENT_SETTING_DERIVED, "numeric libraries get %s thread%s: the CPU quota is %llu.%03llu for %llu worker%s",
             value, threads == 1 ? "" : "s", (unsigned long long)(millis / 1000), (unsigned long long)(millis % 1000),
             (unsigned long long)options->workers, options->workers == 1 ? "" : "s");
}

/* Programs that the function starts cannot get more rights than it has: set-user-id bits and file capabilities have no
 * effect (prctl(2), Linux 3.5). */
static void refuse_privileges(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        log_warning(EVENT_RUNTIME_DEGRADED, "no_new_privs cannot be set: %s", strerror(errno));
    }
}

/* Memory of one worker: its share of the container's, or ASYA_MEMORY_LIMIT if that is less. 0 if neither is known. */
static uint64_t memory_of_worker(const struct options *options)
{
    uint64_t container;
    uint64_t own = cgroup_share(&options->memory_limit);
    uint64_t part = cgroup_memory_limit(&container) ? container / options->workers : 0;
    return part == 0 || (own > 0 && own < part) ? own : part;
}

size_t resources_max_buffered(const struct options *options)
{
    uint64_t wanted = cgroup_share(&options->max_buffered);
    uint64_t memory = memory_of_worker(options);
    uint64_t bytes = wanted > 0 ? wanted : memory > 0 ? memory / BUFFERED_PART : BUFFERED_DEFAULT;
    uint64_t least = 2 * (uint64_t)INTAKE_LIMIT(options->max_message_size);
    cgroup_warn_of_share(&options->max_buffered, "ASYA_MAX_BUFFERED");
    if (wanted > 0 && wanted < least) {
        log_warning(EVENT_SETTING_DERIVED,
                    "ASYA_MAX_BUFFERED is less than two requests of ASYA_MAX_MESSAGE_SIZE: it is taken as %llu bytes",
                    (unsigned long long)least);
    }
    return (size_t)(bytes > least ? bytes : least);
}

void resources_limit(const struct options *options, uint32_t worker)
{
    resources_name_worker(worker);
    refuse_privileges();
    limit_memory(options);
    raise_oom_score();
    limit_threads(options);
}
