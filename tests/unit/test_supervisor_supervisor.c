/*
 * supervisor: the whole of it without Python. It runs in a process of its own; its workers serve an echo that dies,
 * hangs or ends as a message says. Each test also looks whether the supervisor gave back every descriptor, and whether
 * it asked for memory once the first worker was to be forked: deaths, fallback acceptor, fdholders and orphans need
 * none (faults, E11). malloc, calloc and realloc are wrapped by the linker, for the code under test alone.
 */
#include "capture.h"
#include "descriptors.h"
#include "folder.h"
#include "json_check.h"

#include "base/clock.h"
#include "base/exits.h"
#include "server/cancel.h"
#include "server/control.h"
#include "server/server.h"
#include "supervisor/supervisor.h"
#include "wire/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LEAKED = 99, ALLOCATED = 98, REPLY_SIZE = 8192 };

static char folder[FOLDER_SIZE];
static char path[FOLDER_SIZE + 16];
static char ready_path[FOLDER_SIZE + 32];
static char control_path[FOLDER_SIZE + 32];
static struct options options;
static pid_t runtime;
static int (*load)(void);       /* in a worker, before it is ready: EXIT_OK or its exit code */
static void (*be_forked)(void); /* in a worker, as soon as anything of ours runs there */

/* ---- the allocator ---------------------------------------------------------------------------------------------- */

static unsigned allocations;      /* that this process has asked for */
static unsigned allocations_once; /* when its first worker was to be forked */
static bool has_forked;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    allocations++;
    return __real_realloc(block, size);
}

/* ---- the worker ------------------------------------------------------------------------------------------------- */

static int control; /* the worker's end of its channel */

static void die(const char *message, size_t size)
{
    char text[64] = "";
    memcpy(text, message, size < sizeof text ? size : sizeof text - 1);
    if (strncmp(text, "\"kill ", 6) == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(atoi(text + 6), SIG_DFL);
        (void)raise(atoi(text + 6));
    }
    if (strncmp(text, "\"exit ", 6) == 0) {
        _exit(atoi(text + 6));
    }
    if (strncmp(text, "\"hang", 5) == 0) {
        for (;;) {
            pause();
        }
    }
    if (strncmp(text, "\"deafen", 7) == 0) {
        close(control);
    }
    if (strncmp(text, "\"sleep", 6) == 0) {
        usleep(300000);
    }
}

static bool compute(void *context, const struct request *request, struct buffer *reply)
{
    (void)context;
    die((const char *)request->message, request->size);
    return reply_success_begin(reply) == BUFFER_OK &&
           buffer_append(reply, request->message, request->size) == BUFFER_OK && reply_success_end(reply) == BUFFER_OK;
}

static enum service_status answer(void *context, const struct request *request, struct reply *reply)
{
    reply->succeeded = compute(context, request, &reply->body);
    return SERVICE_DONE;
}

static void live(void) {}

static void die_with_the_supervisor(void)
{
    (void)kill(getppid(), SIGKILL);
    (void)raise(SIGKILL);
}

static int load_at_once(void) { return EXIT_OK; }
static int load_never(void) { return EXIT_IMPORT; }

static int load_for_ever(void)
{
    while (pause() != 0) {
    }
    return EXIT_OK;
}

static int load_and_crash(void)
{
    (void)raise(SIGKILL);
    return EXIT_OK;
}

static int run_worker(void *context, const struct worker_seat *seat)
{
    (void)context;
    (void)signal(STACK_SIGNAL, SIG_IGN);
    (void)signal(CANCEL_SIGNAL, SIG_IGN);
    control = seat->control;
    int code = load();
    if (code != EXIT_OK || control_send(seat->control, CONTROL_READY, NULL, 0) != 0) {
        _exit(code);
    }
    struct server_config config = {.listener = seat->listener,
                                   .control = seat->control,
                                   .queue = seat->queue,
                                   .max_message = 1 << 20,
                                   .max_requests = options.max_requests,
                                   .alone = options.workers == 1,
                                   .waits = options.spares > 0,
                                   .read_timeout = 10 * CLOCK_SECOND,
                                   .write_timeout = 10 * CLOCK_SECOND,
                                   .service = {.answer = answer},
                                   .board = seat->board,
                                   .fdstore = seat->fdstore};
    struct error err;
    return server_run(&config, &err) ? EXIT_OK : EXIT_INTERNAL;
}

/* ---- loads that are counted ------------------------------------------------------------------------------------- */

enum { LOADS_MAX = 64 };

/* Each process that loads leaves its number in a file. `odd_load` is the one for which that is all, or which fails. */
static int odd_load;
static int (*load_oddly)(void);

static const char *loads_path(void)
{
    static char name[FOLDER_SIZE + 16];
    (void)snprintf(name, sizeof name, "%s/loads", folder);
    return name;
}

/* How many there were; the process of the last one, or of number `wanted`. */
static int loads_read(int wanted, pid_t *ret_pid)
{
    pid_t pids[LOADS_MAX];
    int fd = open(loads_path(), O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, pids, sizeof pids) : 0;
    int count = size > 0 ? (int)((size_t)size / sizeof pids[0]) : 0;
    if (fd >= 0) {
        close(fd);
    }
    *ret_pid = wanted > 0 && wanted <= count ? pids[wanted - 1] : 0;
    return count;
}

static int loads_count(void)
{
    pid_t ignored;
    return loads_read(0, &ignored);
}

static pid_t loads_pid(int wanted)
{
    pid_t pid;
    for (int i = 0; i < 10000 && loads_read(wanted, &pid) < wanted; i++) {
        usleep(1000);
    }
    (void)loads_read(wanted, &pid);
    assert_true(pid > 0);
    return pid;
}

static int load_counted(void)
{
    pid_t self = getpid();
    int fd = open(loads_path(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, &self, sizeof self) != (ssize_t)sizeof self) {
        return EXIT_INTERNAL;
    }
    close(fd);
    return loads_count() == odd_load ? load_oddly() : EXIT_OK;
}

static int load_slowly(void)
{
    usleep(400000);
    return EXIT_OK;
}

static void before_fork(void *context)
{
    (void)context;
    if (!has_forked) {
        has_forked = true;
        allocations_once = allocations;
    }
}

static void after_fork(void *context, bool in_child)
{
    (void)context;
    if (in_child) {
        be_forked();
    }
}

/* ---- the runtime as a whole ------------------------------------------------------------------------------------- */

static int begin(void **state)
{
    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/app.sock", folder);
    (void)snprintf(ready_path, sizeof ready_path, "%s/runtime-ready", folder);
    (void)snprintf(control_path, sizeof control_path, "%s/app.sock.ctl", folder);
    options = (struct options){.socket_path = path,
                               .control_path = control_path,
                               .http_address = "",
                               .ready_file = ready_path,
                               .process_module = "module",
                               .max_message_size = 1 << 20,
                               .socket_mode = 0600,
                               .read_timeout = 10 * CLOCK_SECOND,
                               .write_timeout = 10 * CLOCK_SECOND,
                               .grace_period = 10 * CLOCK_SECOND,
                               .workers = 1};
    load = load_at_once;
    odd_load = 0;
    load_oddly = load_never;
    be_forked = live;
    runtime = 0;
    int status = descriptors_note(state);
    capture_begin();
    return status;
}

static int end(void **state)
{
    if (runtime > 0) { /* the test failed in the middle */
        (void)kill(runtime, SIGKILL);
        (void)waitpid(runtime, NULL, 0);
    }
    capture_give_up();
    folder_remove(folder);
    return descriptors_check(state);
}

#define RUNTIME_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

static void start(void)
{
    (void)fflush(NULL);
    runtime = fork();
    if (runtime == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        pid_t supervisor = getpid();
        size_t before = descriptors_count();
        struct worker_hooks hooks = {.before_fork = before_fork, .after_fork = after_fork, .run = run_worker};
        int code = supervisor_run(&options, &hooks);
        if (getpid() == supervisor && descriptors_count() != before) {
            code = LEAKED;
        } else if (getpid() == supervisor && has_forked && allocations != allocations_once) {
            code = ALLOCATED;
        }
        if (getpid() == supervisor) {
            exit(code); /* and what watches for lost memory has its say */
        }
        _exit(code);
    }
}

/* Its exit code. */
static int wait_for_end(void)
{
    int status = 0;
    assert_int_equal(waitpid(runtime, &status, 0), runtime);
    runtime = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool exists(const char *name)
{
    struct stat status;
    return lstat(name, &status) == 0;
}

static int connect_client(void)
{
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 10};
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    for (int i = 0; i < 10000; i++) {
        if (connect(client, (const struct sockaddr *)&address, sizeof address) == 0) {
            return client;
        }
        usleep(1000);
    }
    fail_msg("nobody serves");
    return -1;
}

static void wait_until_ready(void)
{
    for (int i = 0; i < 10000 && !exists(ready_path); i++) {
        usleep(1000);
    }
    assert_true(file_is(ready_path, "ready\n"));
    assert_true(exists(path));
}

/* The stop has begun. */
static void wait_until_hidden(void)
{
    for (int i = 0; i < 10000 && exists(path); i++) {
        usleep(1000);
    }
    assert_false(exists(path));
}

static int ask(const char *message)
{
    int client = connect_client();
    assert_int_equal(send(client, message, strlen(message), MSG_NOSIGNAL), (ssize_t)strlen(message));
    return client;
}

/* The whole reply, NUL-terminated; the client is closed. */
static const char *hear(int client)
{
    static char reply[REPLY_SIZE];
    size_t size = 0;
    ssize_t got;
    while ((got = recv(client, reply + size, sizeof reply - 1 - size, 0)) > 0) {
        size += (size_t)got;
    }
    close(client);
    reply[size] = '\0';
    return reply;
}

#define OK(json) "{\"status\":\"ok\",\"result\":" json "}"

static void assert_serving(void) { assert_string_equal(hear(ask("[1]")), OK("[1]")); }

static void assert_gone(void) { assert_int_equal(folder_count(folder), 0); /* no socket, no lock, no ready-file */ }

static void stop_and_check(void)
{
    assert_int_equal(kill(runtime, SIGTERM), 0);
    assert_int_equal(wait_for_end(), EXIT_OK);
    assert_gone();
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void it_starts_serves_and_stops_without_a_trace(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        options.workers = i % 2 == 0 ? 1 : 3;
        start();
        wait_until_ready();
        for (int k = 0; k < 20; k++) {
            assert_serving();
        }
        assert_int_equal(kill(runtime, signals[i]), 0);
        assert_int_equal(wait_for_end(), EXIT_OK);
        assert_gone();
    }
}

static void a_request_in_flight_is_answered_at_a_stop(void **state)
{
    (void)state;
    start();
    wait_until_ready();
    int running = ask("\"sleep\"");
    int queued = ask("[2]");
    usleep(50000);
    assert_int_equal(kill(runtime, SIGTERM), 0);
    assert_string_equal(hear(running), OK("\"sleep\""));
    assert_string_equal(hear(queued), OK("[2]"));
    assert_int_equal(wait_for_end(), EXIT_OK);
    assert_gone();
}

static void a_second_signal_or_the_end_of_grace_cuts_it_short(void **state)
{
    (void)state;
    for (int second = 0; second < 2; second++) {
        options.grace_period = second ? 60 * CLOCK_SECOND : 100 * CLOCK_MS;
        start();
        wait_until_ready();
        int running = ask("\"hang\"");
        usleep(50000);
        assert_int_equal(kill(runtime, SIGTERM), 0);
        if (second) {
            wait_until_hidden();
            assert_int_equal(kill(runtime, SIGINT), 0);
        }
        const char *reply = hear(running);
        assert_non_null(strstr(reply, "\"server_error\""));
        assert_true(json_check(reply, strlen(reply)));
        assert_int_equal(wait_for_end(), EXIT_OK);
        assert_gone();
    }
}

static void whoever_waits_when_it_is_cut_short_is_told(void **state)
{
    (void)state;
    enum {
        WAITING = 1500
    }; /* more than the fallback acceptor holds: some lie in the queue of the workers, some in the backlog */
    static int waiting[WAITING];
    start();
    wait_until_ready();
    int running = ask("\"hang\"");
    usleep(300000); /* the fallback acceptor is open */
    for (int i = 0; i < WAITING; i++) {
        waiting[i] = ask("[2]");
    }
    usleep(200000);
    assert_int_equal(kill(runtime, SIGTERM), 0);
    wait_until_hidden();
    assert_int_equal(kill(runtime, SIGTERM), 0);
    assert_non_null(strstr(hear(running), "\"server_error\""));
    for (int i = 0; i < WAITING; i++) {
        const char *reply = hear(waiting[i]);
        if (strstr(reply, "\"server_error\"") == NULL) {
            fail_msg("client %d: '%s'", i, reply);
        }
    }
    assert_int_equal(wait_for_end(), EXIT_OK);
    assert_gone();
}

static void a_worker_that_is_replaced_answers_who_waits_at_a_stop(void **state)
{
    (void)state;
    options.max_requests = 1;
    start();
    wait_until_ready();
    int begun = ask("[1"); /* keeps the worker from ending once it is replaced */
    usleep(50000);
    assert_serving();
    int waiting = ask("[2]"); /* nobody accepts */
    usleep(50000);
    assert_int_equal(kill(runtime, SIGTERM), 0);
    usleep(50000);
    assert_int_equal(send(begun, "]", 1, MSG_NOSIGNAL), 1);
    assert_string_equal(hear(begun), OK("[1]"));
    assert_string_equal(hear(waiting), OK("[2]"));
    assert_int_equal(wait_for_end(), EXIT_OK);
    assert_gone();
}

static void a_storm_of_signals_is_one_stop(void **state)
{
    (void)state;
    start();
    wait_until_ready();
    for (int i = 0; i < 100; i++) {
        (void)kill(runtime, i % 2 == 0 ? SIGUSR1 : SIGCHLD);
    }
    assert_serving();
    stop_and_check();
}

/* ---- deaths ----------------------------------------------------------------------------------------------------- */

struct death_row {
    const char *message;
    const char *type;
    const char *named; /* what the reply's message names */
};

static const struct death_row death_rows[] = {
    {"\"kill 9\"", "WorkerCrashed", "signal 9 (SIGKILL)"},
    {"\"kill 11\"", "WorkerCrashed", "signal 11 (SIGSEGV)"},
    {"\"kill 6\"", "WorkerCrashed", "signal 6 (SIGABRT)"},
    {"\"kill 7\"", "WorkerCrashed", "signal 7 (SIGBUS)"},
    {"\"kill 15\"", "WorkerCrashed", "signal 15 (SIGTERM)"},
    {"\"exit 0\"", "WorkerExited", "status 0"},
    {"\"exit 3\"", "WorkerExited", "status 3"},
};

static void who_was_served_by_a_worker_that_died_is_told(void **state)
{
    (void)state;
    options.workers = 2;
    start();
    wait_until_ready();
    for (size_t i = 0; i < sizeof death_rows / sizeof death_rows[0]; i++) {
        const struct death_row *row = &death_rows[i];
        const char *reply = hear(ask(row->message));
        char type[64];
        size_t size;
        if (!json_check_member(reply, strlen(reply), "type", type, sizeof type, &size) ||
            strcmp(type, row->type) != 0 || strstr(reply, row->named) == NULL ||
            strstr(reply, "\"processing_error\"") == NULL) {
            fail_msg("%s: %s", row->message, reply);
        }
        assert_serving();
    }
    stop_and_check();
}

static void connections_nobody_had_read_go_on_to_the_next_worker(void **state)
{
    (void)state;
    enum { SILENT = 600 }; /* more than the slots at the start, and than the channel takes at once */
    static int silent[SILENT];
    start();
    wait_until_ready();
    assert_serving();
    for (int i = 0; i < SILENT; i++) {
        silent[i] = connect_client();
    }
    int begun = ask("[1");
    usleep(100000);
    const char *reply = hear(ask("\"kill 9\""));
    assert_non_null(strstr(reply, "\"WorkerCrashed\""));
    assert_non_null(strstr(hear(begun), "\"server_error\"")); /* it cannot be read again */
    for (int i = 0; i < SILENT; i++) {
        assert_int_equal(send(silent[i], "[3]", 3, MSG_NOSIGNAL), 3);
        assert_string_equal(hear(silent[i]), OK("[3]"));
    }
    stop_and_check();
}

static void a_hundred_deaths_leave_nothing_behind(void **state)
{
    (void)state;
    options.workers = 2;
    start();
    wait_until_ready();
    for (int i = 0; i < 100; i++) {
        assert_serving(); /* a worker that has answered something is replaced at once */
        assert_serving();
        const char *reply = hear(ask("\"kill 9\""));
        assert_non_null(strstr(reply, "\"WorkerCrashed\""));
    }
    stop_and_check(); /* which looks at the descriptors */
}

static void a_worker_that_cannot_hear_is_replaced_and_delays_no_stop(void **state)
{
    (void)state;
    options.grace_period = 60 * CLOCK_SECOND; /* longer than the test may take */
    start();
    wait_until_ready();
    assert_string_equal(hear(ask("\"deafen\"")), OK("\"deafen\""));
    assert_serving();
    usleep(1200000);
    assert_serving();
    assert_string_equal(hear(ask("\"deafen\"")), OK("\"deafen\""));
    stop_and_check();
    assert_int_equal(capture_count(capture_end(), "has closed its control channel"), 2);
    capture_begin();
}

static void a_function_beyond_its_limit_is_answered_and_its_worker_replaced(void **state)
{
    (void)state;
    options.handler_timeout = 100 * CLOCK_MS;
    options.handler_grace = CLOCK_SECOND;
    start();
    wait_until_ready();
    uint64_t begun = clock_now();
    const char *reply = hear(ask("\"hang\""));
    assert_non_null(strstr(reply, "\"HandlerTimeout\""));
    assert_true(clock_now() - begun < 2 * CLOCK_SECOND);
    assert_serving();
    stop_and_check();
}

static void while_the_only_worker_is_busy_the_supervisor_answers_for_health(void **state)
{
    (void)state;
    start();
    wait_until_ready();
    int running = ask("\"hang\"");
    int waiting = ask("[1]");
    assert_non_null(strstr(hear(ask("GET /healthz HTTP/1.0\r\n\r\n")), "\"ready\""));
    assert_int_equal(kill(runtime, SIGTERM), 0);
    wait_until_hidden();                         /* else the kernel may make one signal of the two */
    assert_int_equal(kill(runtime, SIGTERM), 0); /* it never ends by itself */
    assert_non_null(strstr(hear(running), "\"server_error\""));
    assert_non_null(strstr(hear(waiting), "\"server_error\""));
    assert_int_equal(wait_for_end(), EXIT_OK);
    assert_gone();
}

static void after_its_requests_a_worker_is_replaced_and_nobody_notices(void **state)
{
    (void)state;
    options.max_requests = 3;
    for (options.workers = 1; options.workers <= 3; options.workers += 2) {
        start();
        wait_until_ready();
        for (int i = 0; i < 60; i++) {
            int waiting = connect_client();
            assert_serving();
            assert_int_equal(send(waiting, "[4]", 3, MSG_NOSIGNAL), 3);
            assert_string_equal(hear(waiting), OK("[4]"));
        }
        stop_and_check();
    }
}

static void workers_that_are_too_large_from_the_beginning_are_not_replaced_for_ever(void **state)
{
    (void)state;
    options.max_rss.bytes = 1; /* whatever it has is too much: each look would find one to replace */
    options.workers = 2;
    start();
    wait_until_ready();
    uint64_t begun = clock_now();
    while (clock_now() - begun < 1500 * CLOCK_MS) {
        assert_serving();
        usleep(5000);
    }
    stop_and_check();
    const char *log = capture_end();
    assert_int_equal(capture_count(log, "ASYA_MAX_RSS"), 1);
    assert_int_equal(capture_count(log, "is replaced"), 0);
    capture_begin();
}

/* ---- spares ----------------------------------------------------------------------------------------------------- */

/* Starts one worker and one spare, whose load may be the odd one. */
static void start_with_spare(void)
{
    options.spares = 1;
    load = load_counted;
    start();
    wait_until_ready();
    (void)loads_pid(2);
}

static void stop_with_spare(void)
{
    assert_int_equal(unlink(loads_path()), 0);
    stop_and_check();
}

static void a_spare_serves_while_the_next_one_loads(void **state)
{
    (void)state;
    odd_load = 3;
    load_oddly = load_for_ever;
    start_with_spare();
    assert_non_null(strstr(hear(ask("\"kill 9\"")), "\"WorkerCrashed\""));
    assert_serving();
    (void)loads_pid(3); /* behind it, and never ready */
    assert_serving();
    assert_true(exists(ready_path));
    stop_with_spare();
}

static void a_spare_that_loads_already_is_taken_before_another_load_begins(void **state)
{
    (void)state;
    odd_load = 2;
    load_oddly = load_slowly;
    start_with_spare();
    assert_int_equal(kill(loads_pid(1), SIGKILL), 0);
    assert_serving();
    assert_true(loads_count() <= 3); /* the third is the next spare */
    assert_int_equal(kill(loads_pid(3), 0), 0);
    stop_with_spare();
}

static void a_spare_that_dies_idle_is_loaded_again_and_nobody_notices(void **state)
{
    (void)state;
    start_with_spare();
    usleep(50000); /* it is loaded, or is about to be */
    assert_int_equal(kill(loads_pid(2), SIGKILL), 0);
    assert_serving();
    (void)loads_pid(3);
    assert_int_equal(kill(loads_pid(1), 0), 0);
    assert_serving();
    assert_true(exists(ready_path));
    stop_with_spare();
}

static void a_spare_that_cannot_load_is_not_tried_again_soon(void **state)
{
    (void)state;
    odd_load = 2;
    start_with_spare();
    usleep(300000);
    assert_serving();
    assert_int_equal(loads_count(), 2);
    assert_non_null(strstr(hear(ask("\"kill 9\"")), "\"WorkerCrashed\""));
    assert_serving(); /* as without spares: it is loaded anew at once */
    assert_int_equal(loads_count(), 3);
    stop_with_spare();
    assert_int_equal(capture_count(capture_end(), "next try in 60000 ms"), 1);
    capture_begin();
}

static void deaths_and_replacements_with_spares_leave_nothing_behind(void **state)
{
    (void)state;
    options.max_requests = 4;
    for (options.workers = 1; options.workers <= 2; options.workers++) {
        for (options.spares = 1; options.spares <= 2; options.spares++) {
            start();
            wait_until_ready();
            for (int i = 0; i < 20; i++) {
                int waiting = connect_client();
                assert_serving();
                assert_non_null(strstr(hear(ask("\"kill 9\"")), "\"WorkerCrashed\""));
                assert_int_equal(send(waiting, "[4]", 3, MSG_NOSIGNAL), 3);
                assert_string_equal(hear(waiting), OK("[4]"));
            }
            stop_and_check();
        }
    }
}

static void a_stop_does_not_wait_for_a_spare(void **state)
{
    (void)state;
    start_with_spare();
    assert_int_equal(unlink(loads_path()), 0);
    uint64_t begun = clock_now();
    stop_and_check();
    assert_true(clock_now() - begun < 5 * CLOCK_SECOND);
}

/* The first start loads, later ones crash: a file says which it is. */
static int load_once(void)
{
    char mark[FOLDER_SIZE + 16];
    (void)snprintf(mark, sizeof mark, "%s/loaded", folder);
    if (exists(mark)) {
        (void)raise(SIGKILL);
    }
    file_write(mark, "");
    return EXIT_OK;
}

static void while_no_worker_is_up_nobody_waits_in_silence(void **state)
{
    (void)state;
    char mark[FOLDER_SIZE + 16];
    (void)snprintf(mark, sizeof mark, "%s/loaded", folder);
    load = load_once;
    options.read_timeout = 300 * CLOCK_MS;
    start();
    wait_until_ready();
    assert_non_null(strstr(hear(ask("\"kill 9\"")), "\"WorkerCrashed\""));
    const char *reply = hear(ask("[5]")); /* no worker comes up in time */
    assert_non_null(strstr(reply, "\"server_error\""));
    assert_non_null(strstr(reply, "SIGKILL"));
    assert_false(exists(ready_path));  /* and readiness is withdrawn */
    assert_int_equal(unlink(mark), 0); /* the next start loads again */
    wait_until_ready();
    assert_serving();
    assert_int_equal(unlink(mark), 0);
    stop_and_check();
}

/* Clock ticks of processor time a process has used. */
static long ticks_of(pid_t pid)
{
    char name[64];
    char text[1024];
    (void)snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(name, "re");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    (void)fclose(file);
    long user = 0;
    long kernel = 0;
    assert_int_equal(
        sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &kernel), 2);
    return user + kernel;
}

static void without_descriptors_and_workers_it_waits_and_recovers(void **state)
{
    (void)state;
    char mark[FOLDER_SIZE + 16];
    struct rlimit limit;
    (void)snprintf(mark, sizeof mark, "%s/loaded", folder);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    load = load_once;
    start();
    wait_until_ready();
    assert_non_null(strstr(hear(ask("\"kill 9\"")), "\"WorkerCrashed\""));
    struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    assert_int_equal(prlimit(runtime, RLIMIT_NOFILE, &none, NULL), 0);
    int client = ask("[6]");
    usleep(200000); /* by now the supervisor accepts itself, or would */
    long ticks = ticks_of(runtime);
    usleep(400000);
    ticks = ticks_of(runtime) - ticks;
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(prlimit(runtime, RLIMIT_NOFILE, &limit, NULL), 0);
    assert_string_equal(hear(client), OK("[6]"));
    assert_int_equal(unlink(mark), 0);
    stop_and_check();
    assert_true(ticks < sysconf(_SC_CLK_TCK) / 5); /* it does not spin */
}

/* ---- starts that fail ------------------------------------------------------------------------------------------- */

struct start_row {
    const char *name;
    int (*load)(void);
    int expected;
};

static const struct start_row start_rows[] = {
    {"the function cannot be loaded", load_never, EXIT_IMPORT},
    {"the worker dies while it loads", load_and_crash, EXIT_IMPORT},
    {"loading takes too long", load_for_ever, EXIT_START_TIMEOUT},
};

static void a_start_that_fails_says_why_and_leaves_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof start_rows / sizeof start_rows[0]; i++) {
        for (options.workers = 1; options.workers <= 3; options.workers += 2) {
            load = start_rows[i].load;
            options.startup_timeout = start_rows[i].load == load_for_ever ? 100 * CLOCK_MS : 0;
            start();
            int code = wait_for_end();
            if (code != start_rows[i].expected) {
                fail_msg("%s: exit code %d", start_rows[i].name, code);
            }
            assert_gone();
        }
    }
}

static void a_stop_during_the_start_is_a_stop(void **state)
{
    (void)state;
    load = load_for_ever;
    start();
    usleep(100000);
    stop_and_check();
}

static void a_second_runtime_is_refused_and_disturbs_nothing(void **state)
{
    (void)state;
    start();
    wait_until_ready();
    pid_t first = runtime;
    start();
    assert_int_equal(wait_for_end(), EXIT_RUNNING);
    runtime = first;
    assert_true(file_is(ready_path, "ready\n"));
    assert_serving();
    stop_and_check();
}

static void workers_do_not_outlive_a_supervisor_that_was_killed(void **state)
{
    (void)state;
    start();
    wait_until_ready();
    int client = ask("\"hang\"");
    usleep(50000);
    assert_int_equal(kill(runtime, SIGKILL), 0);
    (void)waitpid(runtime, NULL, 0);
    runtime = 0;
    assert_string_equal(hear(client), ""); /* closed: the worker is gone too */
    start();                               /* on the stale socket, lock and ready-file */
    for (int i = 0; i < 10000; i++) {      /* until the new one has published */
        int probe = connect_client();
        (void)!send(probe, "[1]", 3, MSG_NOSIGNAL);
        if (strcmp(hear(probe), OK("[1]")) == 0) {
            break;
        }
        usleep(1000);
    }
    assert_serving();
    stop_and_check();
}

/* All processes of a runtime that was killed are this one's children by then. None is left within a second. */
static void assert_nobody_left(const char *when)
{
    uint64_t deadline = clock_now() + CLOCK_SECOND;
    pid_t ended;
    while ((ended = waitpid(-1, NULL, WNOHANG)) >= 0 && clock_now() < deadline) {
        if (ended == 0) {
            usleep(200);
        }
    }
    if (ended >= 0) {
        fail_msg("%s: a process lives on", when);
    }
    assert_int_equal(errno, ECHILD);
    runtime = 0;
}

static void nobody_outlives_supervisor_and_worker_killed_at_once(void **state)
{
    (void)state;
    enum { ROUNDS = 200, LATEST = 5000 }; /* microseconds */
    unsigned seed = (unsigned)clock_now();
    unsigned next = seed;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    be_forked = die_with_the_supervisor;
    start();
    assert_nobody_left("right after the fork");
    be_forked = live;
    for (int i = 0; i < ROUNDS; i++) {
        char when[64];
        useconds_t delay = (useconds_t)rand_r(&next) % LATEST;
        (void)snprintf(when, sizeof when, "after %u us, seed %u", (unsigned)delay, seed);
        options.workers = 1 + (uint64_t)i % 3;
        start();
        (void)setpgid(runtime, runtime);
        usleep(delay);
        assert_int_equal(kill(-runtime, SIGKILL), 0); /* a worker that has left the group dies with its parent */
        assert_nobody_left(when);
    }
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

static void a_socket_that_was_removed_comes_back(void **state)
{
    (void)state;
    start();
    wait_until_ready();
    assert_int_equal(unlink(path), 0);
    assert_serving(); /* which waits for it */
    stop_and_check();
}

static void a_socket_that_was_replaced_ends_the_runtime_and_stays(void **state)
{
    (void)state;
    start();
    wait_until_ready();
    assert_int_equal(unlink(path), 0);
    file_write(path, "precious\n");
    assert_int_equal(wait_for_end(), EXIT_SOCKET_LOST);
    assert_true(file_is(path, "precious\n"));
    assert_int_equal(folder_count(folder), 1);
}

int main(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)signal(signals[i], SIG_DFL); /* as nohup has it, a SIGHUP would stay ignored */
    }
    const struct CMUnitTest tests[] = {
        RUNTIME_TEST(it_starts_serves_and_stops_without_a_trace),
        RUNTIME_TEST(a_request_in_flight_is_answered_at_a_stop),
        RUNTIME_TEST(a_second_signal_or_the_end_of_grace_cuts_it_short),
        RUNTIME_TEST(whoever_waits_when_it_is_cut_short_is_told),
        RUNTIME_TEST(a_worker_that_is_replaced_answers_who_waits_at_a_stop),
        RUNTIME_TEST(a_storm_of_signals_is_one_stop),
        RUNTIME_TEST(who_was_served_by_a_worker_that_died_is_told),
        RUNTIME_TEST(connections_nobody_had_read_go_on_to_the_next_worker),
        RUNTIME_TEST(a_hundred_deaths_leave_nothing_behind),
        RUNTIME_TEST(a_worker_that_cannot_hear_is_replaced_and_delays_no_stop),
        RUNTIME_TEST(a_function_beyond_its_limit_is_answered_and_its_worker_replaced),
        RUNTIME_TEST(while_the_only_worker_is_busy_the_supervisor_answers_for_health),
        RUNTIME_TEST(after_its_requests_a_worker_is_replaced_and_nobody_notices),
        RUNTIME_TEST(workers_that_are_too_large_from_the_beginning_are_not_replaced_for_ever),
        RUNTIME_TEST(a_spare_serves_while_the_next_one_loads),
        RUNTIME_TEST(a_spare_that_loads_already_is_taken_before_another_load_begins),
        RUNTIME_TEST(a_spare_that_dies_idle_is_loaded_again_and_nobody_notices),
        RUNTIME_TEST(a_spare_that_cannot_load_is_not_tried_again_soon),
        RUNTIME_TEST(deaths_and_replacements_with_spares_leave_nothing_behind),
        RUNTIME_TEST(a_stop_does_not_wait_for_a_spare),
        RUNTIME_TEST(while_no_worker_is_up_nobody_waits_in_silence),
        RUNTIME_TEST(without_descriptors_and_workers_it_waits_and_recovers),
        RUNTIME_TEST(a_start_that_fails_says_why_and_leaves_nothing),
        RUNTIME_TEST(a_stop_during_the_start_is_a_stop),
        RUNTIME_TEST(a_second_runtime_is_refused_and_disturbs_nothing),
        RUNTIME_TEST(workers_do_not_outlive_a_supervisor_that_was_killed),
        RUNTIME_TEST(nobody_outlives_supervisor_and_worker_killed_at_once),
        RUNTIME_TEST(a_socket_that_was_removed_comes_back),
        RUNTIME_TEST(a_socket_that_was_replaced_ends_the_runtime_and_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
