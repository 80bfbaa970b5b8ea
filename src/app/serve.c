#include "app/serve.h"

#include "app/resources.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/forked.h"
#include "base/log.h"
#include "base/marks.h"
#include "base/options.h"
#include "base/unknown.h"
#include "python/access.h"
#include "python/active.h"
#include "python/answer.h"
#include "python/context.h"
#include "python/fork.h"
#include "python/handler.h"
#include "python/health.h"
#include "python/lifespan.h"
#include "python/log.h"
#include "python/loop.h"
#include "python/memory.h"
#include "python/metrics.h"
#include "python/mounts.h"
#include "python/news.h"
#include "python/pool.h"
#include "python/results.h"
#include "python/shape.h"
#include "python/spans.h"
#include "python/stdio.h"
#include "python/typed.h"
#include "server/belongings.h"
#include "server/control.h"
#include "server/record.h"
#include "server/server.h"
#include "supervisor/supervisor.h"

#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -Dfdstore=false builds without fdstore and scoreboard, only to measure what these cost. */
#ifdef ASYA_NO_FDSTORE
enum { FDSTORE = 0 };
#else
enum { FDSTORE = 1 };
#endif

/* Returns free pages to the kernel. glibc only, NULL elsewhere. */
extern int malloc_trim(size_t pad) __attribute__((weak));

/* Puts the working directory first on sys.path, as Python does for a script in it. */
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
    PyErr_Clear(); /* getcwd fails if the working directory was removed: then it is not put there */
    Py_XDECREF(here);
    Py_XDECREF(os);
}

/* Descriptor 0 becomes /dev/null, so that the function cannot read from a terminal. */
static void close_input(void)
{
    FD_SCOPED int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0) {
        log_warning(EVENT_RUNTIME_DEGRADED, "standard input stays open: %s", strerror(errno));
    }
    if (null == STDIN_FILENO) {
        (void)fd_take(&null); /* 0 was closed, so open() returned it: keep it open */
    }
}

/* What is printed from now on goes to the supervisor, and this log to where it went before. Returns the number that the
 * log has now; 0: nothing is captured. C code writes its lines at once, as to a terminal. */
static int serve_capture(const struct options *options, const struct worker_seat *seat)
{
    if (seat->printed[0] < 0) {
        return 0;
    }
    int kept = log_keep_target();
    if (kept < 0 || dup2(seat->printed[0], STDOUT_FILENO) < 0 || dup2(seat->printed[1], STDERR_FILENO) < 0) {
        log_warning(EVENT_RUNTIME_DEGRADED, "what the function prints is not captured: %s", strerror(errno));
        return 0;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    marks_begin(seat->mark_head, seat->printed, seat->board->printed, options->concurrency == 1);
    return kept;
}

/* Ends a worker whose start has failed. Without finalising the interpreter: threads that the module has started could
 * hold that up for ever. */
static void give_up(const struct worker_seat *seat, int code)
{
    stdio_flush();
    scoreboard_note_exit(seat->board, code);
    log_finish();
    _exit(code);
}

/* Runs all user code that workers can share: the module, what the class and preload() do. */
static int serve_load_function(const struct options *options, struct binding *binding, PyObject **ret_owner)
{
    if (options->process_module[0] == '\0') {
        log_warning(EVENT_SETTING_DERIVED, "ASYA_PROCESS_MODULE is not set: every message is echoed");
        return EXIT_OK;
    }
    if (options->handler[0] != '\0' && strcmp(options->handler, options->process_module) != 0) {
        log_warning(EVENT_SETTING_IGNORED,
                    "ASYA_HANDLER is not used, since ASYA_PROCESS_MODULE is set, too: unset one of them");
    }
    int code = handler_load(options, &binding->function, ret_owner);
    if (code == EXIT_OK && options->typed_payloads) {
        code = typed_converter(binding->function, &binding->converter);
    }
    if (code < 0) {
        code = handler_fail(EVENT_START_FAILED, "resolving the annotations of", options->process_module);
    }
    if (code == EXIT_OK && results_use_default(binding->function) != 0) {
        code = handler_fail(EVENT_START_FAILED, "looking at", options->process_module);
    }
    return code == EXIT_OK ? lifespan_preload(binding->function, *ret_owner) : code;
}

/* Functions declared `async` run on an event loop. Others run in threads if there can be several requests at once. (A
 * plain function may still return an awaitable; the loop is opened for that when it happens.) */
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
    return status == 0 ? EXIT_OK : handler_fail(EVENT_START_FAILED, "preparing", options->process_module);
}

static struct binding *make_binding(const struct options *options, struct scoreboard *board)
{
    static struct binding binding; /* one in each process; too large for the stack */
    forked_begin();                /* so that a child that the function forks does not answer, too */
    binding.board = FDSTORE ? board : NULL;
    binding.timeout = options->handler_timeout;
    binding.concurrency = (uint32_t)options->concurrency;
    binding.validate = options->enable_validation;
    binding.whole = options->handler_mode == HANDLER_ENVELOPE;
    binding.is_short = options->generation == GENERATION_0_5_1;
    return &binding;
}

static struct belongings belongings; /* a worker's */

/* Called in a child that the function has forked. */
static void let_go(struct server *server)
{
    belongings.server = server;
    belongings_drop(&belongings);
}

/* What workers can share: returns EXIT_OK, or the exit code of the failure. `belongings` are set. */
static int serve_load(const struct options *options, uint32_t worker, struct binding *binding, PyObject **ret_owner)
{
    fork_install(let_go);
    /* POST /log-level may have changed the level */
    function_log_install(log_level(), options->log_format, worker, context_find);
    context_install();
    news_install(binding->board);
    int code = mounts_install();
    return code == EXIT_OK ? serve_load_function(options, binding, ret_owner) : code;
}

/* What each has for itself, before the first request. */
static int serve_set_up(const struct options *options, struct binding *binding, PyObject *owner)
{
    int code = lifespan_begin(binding, owner);
    return code == EXIT_OK ? serve_prepare_binding(options, binding) : code;
}

/* After the last request. Takes over `owner`. */
static void serve_end(struct binding *binding, PyObject *owner)
{
    lifespan_note(binding->board, "what the function has to close");
    lifespan_end(binding, owner);
    lifespan_note(binding->board, "tasks and executors of the event loop");
    loop_close();
    lifespan_note_leftovers(binding->board);
    news_end();
    health_end();
    Py_XDECREF(owner);
    Py_CLEAR(binding->converter);
    Py_CLEAR(binding->function);
}

/* What a server is told by the settings alone. */
static struct server_config serve_config(const struct options *options, struct binding *binding)
{
    return (struct server_config){.max_message = (size_t)options->max_message_size,
                                  .max_buffered = resources_max_buffered(options),
                                  .read_timeout = options->read_timeout,
                                  .keepalive_timeout = options->keepalive_timeout,
                                  .write_timeout = options->write_timeout,
                                  .service = answer_service(binding),
                                  .allowed_uids = &options->allowed_uids,
                                  .concurrency = binding->concurrency,
                                  .protocol = (enum protocol)options->protocol};
}

/* Returns an exit code. */
static int serve_tell_ready(const struct worker_seat *seat)
{
    int status = control_send(seat->control, CONTROL_READY, NULL, 0);
    if (status < 0) {
        log_error(EVENT_START_FAILED, "cannot reach the supervisor: %s", strerror(-status));
        return EXIT_INTERNAL;
    }
    return EXIT_OK;
}

static PyObject *preloaded_owner; /* the instance that the template has made, if any */

/* In the template. Its news would be nobody's, so it has no scoreboard here. */
static void template_load(void *context, const struct worker_seat *seat)
{
    const struct options *options = context;
    char reason[1024];
    close_input();
    (void)serve_capture(options, seat);
    stdio_install();
    struct binding *binding = make_binding(options, NULL);
    resources_limit(options, seat->index);
    active_install(seat->stack);
    belongings = (struct belongings){.listener = -1, .control = seat->control, .queue = -1, .fdholder = -1};
    metrics_use(seat->series, seat->index);
    fork_prepare(options->process_module);
    int code = serve_load(options, seat->index, binding, &preloaded_owner);
    if (code == EXIT_OK && !fork_settle(reason, sizeof reason)) {
        log_warning(
            EVENT_RUNTIME_DEGRADED,
            "ASYA_PRELOAD: once it is loaded, this function cannot be forked: %s. Each worker loads it for itself",
            reason);
        give_up(seat, EXIT_OK);
    }
    if (code != EXIT_OK) {
        give_up(seat, code);
    }
    stdio_end_request(NULL);
    stdio_flush();
    code = serve_tell_ready(seat);
    if (code != EXIT_OK) {
        give_up(seat, code);
    }
}

static bool template_is_stale(void *context)
{
    (void)context;
    return fork_is_stale();
}

/* Up to the set-up: what the template has not done. Returns an exit code. */
static int worker_load(const struct options *options, const struct worker_seat *seat, struct binding *binding,
                       PyObject **ret_owner)
{
    if (!seat->is_loaded) {
        return serve_load(options, seat->index, binding, ret_owner);
    }
    *ret_owner = preloaded_owner;
    function_log_be_worker(seat->index);
    news_install(binding->board);
    fork_renew();
    return EXIT_OK;
}

static int worker_run(void *context, const struct worker_seat *seat)
{
    const struct options *options = context;
    log_be_worker(seat->index);
    if (!seat->is_loaded) {
        close_input();
    }
    int log = serve_capture(options, seat);
    struct binding *binding = make_binding(options, seat->board);
    PyObject *owner = NULL;
    if (seat->is_loaded) {
        resources_name_worker(seat->index);
    } else {
        stdio_install();
        resources_limit(options, seat->index);
    }
    active_install(seat->stack);
    memory_watch_aborts(seat->board);
    belongings = (struct belongings){.listener = seat->listener,
                                     .control = seat->control,
                                     .queue = seat->queue,
                                     .fdholder = seat->fdholder,
                                     .fdstore = seat->fdstore};
    metrics_use(seat->series, seat->index);
    record_begin_worker();
    int code = worker_load(options, seat, binding, &owner);
    if (code == EXIT_OK) {
        code = serve_set_up(options, binding, owner);
    }
    if (code != EXIT_OK) {
        give_up(seat, code);
    }
    access_install(options->access_log);
    spans_install(options->process_module);
    health_begin(binding, owner, options->healthcheck_interval);
    stdio_end_request(NULL); /* what was printed so far is of no request */
    bool may_serve = scoreboard_begin_serving(seat->board);
    code = may_serve ? serve_tell_ready(seat) : EXIT_OK;
    if (code != EXIT_OK) {
        scoreboard_note_exit(seat->board, code);
        return code;
    }
    struct server_config config = serve_config(options, binding);
    config.listener = seat->listener;
    config.control = seat->control;
    config.queue = seat->queue;
    config.fdholder = seat->fdholder;
    config.stack = seat->stack;
    config.kept[0] = log;
    config.kept[1] = seat->printed[0];
    config.kept[2] = seat->printed[1];
    config.max_requests = options->max_requests;
    config.alone = options->workers == 1;
    config.waits = options->spares > 0;
    config.board = FDSTORE ? seat->board : NULL;
    config.fdstore = FDSTORE ? seat->fdstore : NULL;
    struct error err;
    if (may_serve && !answer_serve(binding, &config, &err)) {
        log_error(EVENT_START_FAILED, "the worker cannot serve: %s", err.text);
        scoreboard_note_exit(seat->board, EXIT_INTERNAL);
        return EXIT_INTERNAL;
    }
    serve_end(binding, owner);
    return EXIT_OK;
}

/* Threads that were started before us (by sitecustomize, an agent, a debugger) do not run in the supervisor: it keeps
 * the GIL, except while a fork's hooks wait (docs/decisions/0017). Each of them would wake up every 5 ms, the usual
 * switch interval, to ask for the GIL. A long interval avoids that. While hooks run the interval is the usual one, or
 * the supervisor would have to wait just as long to get the GIL back. */
static double usual_interval;

#define LONG_INTERVAL 3600.0 /* seconds */

static void set_switch_interval(double seconds)
{
    PyObject *sys = PyImport_ImportModule("sys");
    PyObject *done = sys != NULL ? PyObject_CallMethod(sys, "setswitchinterval", "d", seconds) : NULL;
    PyErr_Clear(); /* on an error the interval stays as it is */
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

static bool was_interrupted(void *context)
{
    (void)context;
    bool is_raised = PyErr_CheckSignals() != 0; /* KeyboardInterrupt, or what a handler in Python raises */
    PyErr_Clear();
    return is_raised;
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
        fork_expect_worker(true);
        PyOS_AfterFork_Child();
        fork_expect_worker(false);
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
        log_error(EVENT_START_FAILED, "%s", err.text);
        return false;
    }
    log_configure(ret_options->log_level, ret_options->log_format);
    add_working_directory();
    return mounts_prepare(ret_options) == EXIT_OK;
}

int serve_foreground(int listener, int control)
{
    static struct options options; /* a forked child of the function may look at it */
    if (!serve_prepare(&options)) {
        return EXIT_OPTION;
    }
    unknown_warn();
    struct binding *binding = make_binding(&options, NULL);
    PyObject *owner = NULL;
    resources_limit(&options, 0);
    belongings = (struct belongings){.listener = listener, .control = control, .queue = -1, .fdholder = -1};
    int code = serve_load(&options, 0, binding, &owner);
    if (code == EXIT_OK) {
        code = serve_set_up(&options, binding, owner);
    }
    if (code != EXIT_OK) {
        return code;
    }
    struct server_config config = serve_config(&options, binding);
    config.listener = listener;
    config.control = control;
    config.stack = -1;
    config.alone = true;
    struct error err;
    if (!answer_serve(binding, &config, &err)) {
        log_error(EVENT_START_FAILED, "cannot serve here: %s", err.text);
        return EXIT_INTERNAL;
    }
    serve_end(binding, owner);
    return EXIT_OK;
}

int serve(void)
{
    struct options options;
    fd_plug_standard(); /* before any descriptor that is kept */
    if (!serve_prepare(&options)) {
        return EXIT_OPTION;
    }
    struct error err;
    if (!record_open(&options, &err)) {
        log_error(EVENT_START_FAILED, "%s", err.text);
        return EXIT_OPTION;
    }
    unknown_warn();
    if (malloc_trim != NULL) { /* 0.2 MB that unpacking the image has used, before each fork copies it */
        (void)malloc_trim(0);
    }
    struct worker_hooks hooks = {.context = &options,
                                 .python = Py_GetVersion(),
                                 .was_interrupted = was_interrupted,
                                 .before_fork = before_fork,
                                 .after_fork = after_fork,
                                 .run = worker_run,
                                 .load = template_load,
                                 .is_stale = template_is_stale};
    find_switch_interval();
    int code = supervisor_run(&options, &hooks);
    set_switch_interval(usual_interval);
    return code;
}
