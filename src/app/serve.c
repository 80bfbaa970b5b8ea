#include "app/serve.h"

#include "app/resources.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/forked.h"
#include "base/log.h"
#include "base/options.h"
#include "base/unknown.h"
#include "python/active.h"
#include "python/answer.h"
#include "python/fork.h"
#include "python/handler.h"
#include "python/lifespan.h"
#include "python/log.h"
#include "python/loop.h"
#include "python/pool.h"
#include "python/shape.h"
#include "python/stdio.h"
#include "python/typed.h"
#include "server/belongings.h"
#include "server/control.h"
#include "server/server.h"
#include "supervisor/supervisor.h"

#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* -Dfdstore=false: a build that shows what slots and scoreboard cost, and is for nothing else. */
#ifdef ASYA_NO_FDSTORE
enum { FDSTORE = 0 };
#else
enum { FDSTORE = 1 };
#endif

/* glibc only, NULL elsewhere: gives free pages back to the kernel. */
extern int malloc_trim(size_t pad) __attribute__((weak));

/* The working directory comes first on sys.path, as when a script there is started by hand. */
static void add_working_directory(void)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *here = os != NULL ? PyObject_CallMethod(os, "getcwd", NULL) : NULL;
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    if (here != NULL && path != NULL && PyList_Check(path)) {
        int present = PySequence_Contains(path, here);
        if (present == 0) {
            (void)PyList_Insert(path, 0, here);
        }
    }
    PyErr_Clear(); /* a working directory that was removed cannot be on the path */
    Py_XDECREF(here);
    Py_XDECREF(os);
}

/* The function reads no terminal: descriptor 0 is /dev/null. */
static void close_input(void)
{
    FD_SCOPED int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0) {
        log_warning("standard input stays open: %s", strerror(errno));
    }
    if (null == STDIN_FILENO) {
        (void)fd_take(&null); /* 0 was closed before: it is in place */
    }
}

/* A start that has failed: without finalising, since threads the module has started could hold that up for ever. */
static void give_up(const struct worker_seat *seat, int code)
{
    stdio_flush();
    scoreboard_note_exit(seat->board, code);
    log_finish();
    _exit(code);
}

/* Everything of the user's that runs before the first request. */
static int serve_load_function(const struct options *options, struct binding *binding, PyObject **ret_owner)
{
    if (options->process_module[0] == '\0') {
        log_warning("ASYA_PROCESS_MODULE is not set: every message is echoed");
        return EXIT_OK;
    }
    int code = handler_load(options, &binding->function, ret_owner);
    if (code == EXIT_OK) {
        code = typed_converter(binding->function, &binding->converter);
    }
    if (code < 0) {
        code = handler_fail("resolving the annotations of", options->process_module);
    }
    return code == EXIT_OK ? lifespan_begin(binding, *ret_owner) : code;
}

/* Functions declared `async` run on a loop; others, several at a time, in threads. What a plain function returns may
 * still want the loop. */
static int serve_prepare_binding(const struct options *options, struct binding *binding)
{
    if (binding->function == NULL) {
        return EXIT_OK;
    }
    int status = scope_begin();
    if (status == 0) {
        status = scope_open(&binding->scope);
    }
    binding->is_async = shape_is_async(binding->function);
    if (status == 0 && binding->is_async) {
        status = loop_open(binding);
    } else if (status == 0 && binding->concurrency > 1) {
        status = pool_start(binding);
    }
    return status == 0 ? EXIT_OK : handler_fail("preparing", options->process_module);
}

static struct binding *make_binding(const struct options *options, const struct worker_seat *seat)
{
    static struct binding binding; /* one a process; too large for a stack frame */
    forked_begin();                /* a function that forks must not answer twice */
    binding.board = FDSTORE ? seat->board : NULL;
    binding.timeout = options->handler_timeout;
    binding.concurrency = (uint32_t)options->concurrency;
    binding.validate = options->enable_validation;
    binding.whole = options->handler_mode == HANDLER_ENVELOPE;
    return &binding;
}

static struct belongings belongings; /* a worker's */

/* In a child that the function has forked. */
static void let_go(struct server *server)
{
    belongings.server = server;
    belongings_drop(&belongings);
}

static int worker_run(void *context, const struct worker_seat *seat)
{
    const struct options *options = context;
    close_input();
    stdio_install();
    struct binding *binding = make_binding(options, seat);
    PyObject *owner = NULL;
    resources_limit(options);
    active_install(seat->stack);
    belongings = (struct belongings){.listener = seat->listener,
                                     .control = seat->control,
                                     .queue = seat->queue,
                                     .fdholder = seat->fdholder,
                                     .fdstore = seat->fdstore};
    fork_install(let_go);
    function_log_install(options->log_level, options->log_format);
    int code = serve_load_function(options, binding, &owner);
    if (code == EXIT_OK) {
        code = serve_prepare_binding(options, binding);
    }
    if (code != EXIT_OK) {
        give_up(seat, code);
    }
    int status = control_send(seat->control, CONTROL_READY, NULL, 0);
    if (status < 0) {
        log_error("cannot reach the supervisor: %s", strerror(-status));
        scoreboard_note_exit(seat->board, EXIT_INTERNAL);
        return EXIT_INTERNAL;
    }
    struct server_config config = {.listener = seat->listener,
                                   .control = seat->control,
                                   .queue = seat->queue,
                                   .fdholder = seat->fdholder,
                                   .max_message = (size_t)options->max_message_size,
                                   .max_buffered = resources_max_buffered(options),
                                   .read_timeout = options->read_timeout,
                                   .write_timeout = options->write_timeout,
                                   .service = answer_service(binding),
                                   .max_requests = options->max_requests,
                                   .alone = options->workers == 1,
                                   .allowed_uids = &options->allowed_uids,
                                   .concurrency = binding->concurrency,
                                   .protocol = (enum protocol)options->protocol,
                                   .board = FDSTORE ? seat->board : NULL,
                                   .fdstore = FDSTORE ? seat->fdstore : NULL};
    struct error err;
    if (!answer_serve(binding, &config, &err)) {
        log_error("the worker cannot serve: %s", err.text);
        scoreboard_note_exit(seat->board, EXIT_INTERNAL);
        return EXIT_INTERNAL;
    }
    lifespan_note(binding->board, "what the function has to close");
    lifespan_end(binding, owner);
    lifespan_note(binding->board, "tasks and executors of the event loop");
    loop_close();
    lifespan_note_leftovers(binding->board);
    Py_XDECREF(owner);
    Py_CLEAR(binding->converter);
    Py_CLEAR(binding->function);
    return EXIT_OK;
}

/* Threads that were started before us (sitecustomize, an agent, a debugger) stand still in the supervisor, which never
 * gives the GIL away but where a fork's hooks wait (decision 0017). Each would ask for it every 5 ms: not even for that
 * are they to wake up. While hooks run the interval is the usual one, or the supervisor would wait as long for the GIL.
 */
static double usual_interval;

#define LONG_INTERVAL 3600.0 /* seconds */

static void set_switch_interval(double seconds)
{
    PyObject *sys = PyImport_ImportModule("sys");
    PyObject *done = sys != NULL ? PyObject_CallMethod(sys, "setswitchinterval", "d", seconds) : NULL;
    PyErr_Clear(); /* it stays as it is */
    Py_XDECREF(done);
    Py_XDECREF(sys);
}

static void find_switch_interval(void)
{
    PyObject *sys = PyImport_ImportModule("sys");
    PyObject *found = sys != NULL ? PyObject_CallMethod(sys, "getswitchinterval", NULL) : NULL;
    usual_interval = found != NULL ? PyFloat_AsDouble(found) : 0.005;
    PyErr_Clear();
    Py_XDECREF(found);
    Py_XDECREF(sys);
}

static void before_fork(void *context)
{
    (void)context;
    set_switch_interval(usual_interval);
    PyOS_BeforeFork();
}

static void after_fork(void *context, bool in_child)
{
    (void)context;
    if (in_child) {
        PyOS_AfterFork_Child();
    } else {
        PyOS_AfterFork_Parent();
        set_switch_interval(LONG_INTERVAL);
    }
}

bool serve_prepare(struct options *ret_options)
{
    struct error err;
    if (!options_load(ret_options, &err) ||
        (ret_options->process_module[0] != '\0' && !handler_check_name(ret_options, &err))) {
        log_error("%s", err.text);
        return false;
    }
    log_configure(ret_options->log_level, ret_options->log_format);
    add_working_directory();
    return true;
}

/* Asya's own runtime redirects files below these paths; a function that relies on it would write to the container. */
static void warn_of_state_proxy(void)
{
    const char *mounts = getenv("ASYA_STATE_PROXY_MOUNTS");
    if (mounts != NULL && mounts[0] != '\0') {
        log_warning(
            "ASYA_STATE_PROXY_MOUNTS is set, but this runtime has no state proxy: the function sees plain files");
    }
}

int serve(void)
{
    struct options options;
    fd_plug_standard(); /* before anything that stays open is made */
    if (!serve_prepare(&options)) {
        return EXIT_OPTION;
    }
    unknown_warn();
    warn_of_state_proxy();
    if (malloc_trim != NULL) { /* what unpacking the image took, before a fork doubles it: 0.2 MB */
        (void)malloc_trim(0);
    }
    struct worker_hooks hooks = {
        .context = &options, .before_fork = before_fork, .after_fork = after_fork, .run = worker_run};
    find_switch_interval();
    int code = supervisor_run(&options, &hooks);
    set_switch_interval(usual_interval);
    return code;
}
