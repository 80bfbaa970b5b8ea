/*
 * backlog, below the log: no line waits for a reader, whatever standard error is and whichever of the ways to write
 * without waiting this kernel has; and what a slow reader has read in the end is whole, in order and counted.
 */
#include "capture.h"
#include "descriptors.h"
#include "folder.h"

#include "base/backlog.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- what is missing in the kernel, and the time ---------------------------------------------------------------- */

static int pwritev2_error; /* 0: it works as here */
static int reopen_error;
static uint64_t time_passed; /* beside the real one */

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
uint64_t __real_clock_now(void);
uint64_t __wrap_clock_now(void);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (number == SYS_pwritev2 && pwritev2_error != 0) {
        errno = pwritev2_error;
        return -1;
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

int __wrap_open(const char *path, int flags, ...)
{
    if (strcmp(path, "/proc/self/fd/2") == 0 && reopen_error != 0) {
        errno = reopen_error;
        return -1;
    }
    return __real_open(path, flags);
}

uint64_t __wrap_clock_now(void) { return __real_clock_now() + time_passed; }

/* ---- standard error of every kind ------------------------------------------------------------------------------- */

static int saved = -1;
static int reader = -1; /* where what is written can be read, without waiting */

static int stderr_begin(void **state)
{
    if (descriptors_note(state) != 0) {
        return -1;
    }
    (void)fflush(stderr);
    saved = dup(STDERR_FILENO);
    pwritev2_error = reopen_error = 0;
    log_configure(LOG_LEVEL_INFO, LOG_TEXT);
    return 0;
}

static void stderr_restore(void)
{
    backlog_clear();
    dup2(saved, STDERR_FILENO);
    if (reader >= 0) {
        close(reader);
        reader = -1;
    }
}

static int stderr_end(void **state)
{
    stderr_restore();
    close(saved);
    saved = -1;
    return descriptors_check(state);
}

#define BACKLOG_TEST(function) cmocka_unit_test_setup_teardown(function, stderr_begin, stderr_end)

static void stderr_become(int fd)
{
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static void become_pipe(int flags)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, flags), 0);
    reader = ends[0];
    stderr_become(ends[1]);
}

static void pipe_make(void) { become_pipe(0); }

static void pipe_nonblocking_make(void) { become_pipe(O_NONBLOCK); }

static void fifo_make(void)
{
    char path[] = "/tmp/asya-fifo-XXXXXX";
    assert_non_null(mktemp(path));
    assert_int_equal(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int end = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(reader >= 0 && end >= 0);
    unlink(path);
    stderr_become(end);
}

static void socket_make(void)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    reader = ends[0];
    stderr_become(ends[1]);
}

static void terminal_make(void)
{
    reader = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(grantpt(reader), 0);
    assert_int_equal(unlockpt(reader), 0);
    char path[64];
    assert_int_equal(ptsname_r(reader, path, sizeof path), 0);
    int end = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    assert_true(end >= 0);
    stderr_become(end);
}

struct kind_row {
    const char *name;
    void (*make)(void);
    int pwritev2_error;
    int reopen_error;
};

static const struct kind_row kind_rows[] = {
    {"a pipe", pipe_make, 0, 0},
    {"a pipe on a kernel that knows no RWF_NOWAIT for it", pipe_make, EOPNOTSUPP, 0},
    {"a pipe on a kernel without pwritev2", pipe_make, ENOSYS, 0},
    {"a pipe that may not be opened anew", pipe_make, EPERM, EACCES},
    {"a pipe somebody has made non-blocking", pipe_nonblocking_make, 0, 0},
    {"a named pipe", fifo_make, 0, 0},
    {"a named pipe on an older kernel", fifo_make, EOPNOTSUPP, 0},
    {"a socket", socket_make, 0, 0},
    {"a terminal", terminal_make, 0, 0},
};

static char text[2 * BACKLOG_SIZE];
static size_t text_size;

static void read_some(size_t most)
{
    ssize_t got;
    size_t before = text_size;
    while (text_size - before < most && (got = read(reader, text + text_size, sizeof text - 1 - text_size)) > 0) {
        text_size += (size_t)got;
    }
    text[text_size] = '\0';
}

/* Until nothing waits to be written, so much at a time, and all is read. */
static void read_rest(size_t step)
{
    while (log_due() != CLOCK_NEVER) {
        time_passed += CLOCK_SECOND;
        log_tend(clock_now());
        read_some(step);
    }
    read_some(sizeof text);
}

static void read_all(void)
{
    text_size = 0;
    read_some(sizeof text);
    read_rest(sizeof text);
}

enum { LINES = 3000, FILLING = 200 }; /* more than a pipe, a socket and the backlog hold together */

/* Lines "line N x...x" from the text, each whole and in order, and those said to be lost in between. Returns the sum.
 */
static unsigned count_lines(void)
{
    unsigned next = 0;
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        char *behind = end > line && end[-1] == '\r' ? end - 1 : end; /* a terminal adds it */
        *behind = '\0';
        unsigned number;
        char *found = strstr(line, " INFO ");
        assert_non_null(found);
        if (sscanf(found, " INFO line %u ", &number) == 1) {
            assert_int_equal(number, next);
            assert_int_equal(strspn(strchr(found, 'x'), "x"), FILLING);
            assert_ptr_equal(strchr(found, 'x') + FILLING, behind);
            next++;
        } else {
            assert_int_equal(sscanf(found, " INFO %u lines of this log were lost here", &number), 1);
            next += number;
        }
    }
    return next;
}

static void log_lines(unsigned first, unsigned count)
{
    char filling[FILLING + 1];
    memset(filling, 'x', FILLING);
    filling[FILLING] = '\0';
    for (unsigned i = first; i < first + count; i++) {
        log_info(EVENT_RUNTIME_ERROR, "line %u %s", i, filling);
    }
}

static void a_log_that_nobody_reads_holds_nobody_up_and_says_what_it_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++) {
        const struct kind_row *row = &kind_rows[i];
        pwritev2_error = row->pwritev2_error;
        reopen_error = row->reopen_error;
        row->make();
        int flags = fcntl(STDERR_FILENO, F_GETFL);
        log_lines(0, LINES); /* the alarm of DESCRIPTOR_TEST ends a test that waits */
        assert_true(log_due() != CLOCK_NEVER);
        read_all();
        log_lines(LINES, 1);
        assert_int_equal(fcntl(STDERR_FILENO, F_GETFL), flags); /* the description is others' too */
        read_some(sizeof text);
        unsigned lost = capture_count(text, "lost here");
        unsigned sum = count_lines();
        stderr_restore();
        if (sum != LINES + 1 || lost != 1) {
            fail_msg("%s: %u lines, said to be lost %u times", row->name, sum, lost);
        }
    }
}

static void a_slow_reader_misses_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++) {
        const struct kind_row *row = &kind_rows[i];
        pwritev2_error = row->pwritev2_error;
        reopen_error = row->reopen_error;
        row->make();
        text_size = 0;
        for (unsigned line = 0; line < 1000; line += 100) {
            log_lines(line, 100); /* 24 KB, of which the reader takes 8 */
            read_some(8192);
        }
        read_rest(8192);
        unsigned lost = capture_count(text, "lost here");
        unsigned sum = count_lines();
        stderr_restore();
        if (sum != 1000 || lost != 0) {
            fail_msg("%s: %u lines, said to be lost %u times", row->name, sum, lost);
        }
    }
}

static void lines_wait_for_a_disk_that_is_full(void **state)
{
    (void)state;
    stderr_become(open("/dev/full", O_WRONLY | O_CLOEXEC));
    log_lines(0, 10);
    pipe_make();
    read_all();
    assert_int_equal(count_lines(), 10);
}

static void a_reader_that_is_gone_kills_nobody(void **state)
{
    (void)state;
    void (*before)(int) = signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++) {
        pwritev2_error = kind_rows[i].pwritev2_error;
        reopen_error = kind_rows[i].reopen_error;
        kind_rows[i].make();
        close(reader);
        reader = -1;
        log_lines(0, LINES);
        sigset_t pending;
        assert_int_equal(sigpending(&pending), 0);
        assert_false(sigismember(&pending, SIGPIPE));
        pipe_make();
        read_all();
        assert_int_equal(count_lines(), LINES);
        stderr_restore();
    }
    (void)signal(SIGPIPE, before);
}

static void nothing_is_kept_for_a_descriptor_that_is_closed(void **state)
{
    (void)state;
    close(STDERR_FILENO);
    log_lines(0, 10);
    assert_true(log_due() == CLOCK_NEVER);
    dup2(saved, STDERR_FILENO); /* else the next descriptor has the number */
    pipe_make();
    log_lines(0, 1);
    read_all();
    assert_int_equal(count_lines(), 1);
}

static void a_child_does_not_write_what_its_parent_keeps(void **state)
{
    (void)state;
    pipe_make();
    log_lines(0, 1000);
    assert_true(log_due() != CLOCK_NEVER);
    text_size = 0;
    read_some(sizeof text); /* there is room again */
    pid_t child = fork();
    if (child == 0) {
        log_tend(CLOCK_NEVER - 1);
        log_finish();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    size_t before = text_size;
    read_some(sizeof text);
    assert_int_equal(text_size, before);
    read_rest(sizeof text);
    assert_int_equal(count_lines(), 1000);
}

static void the_end_waits_for_a_reader_but_not_for_none(void **state)
{
    (void)state;
    pipe_make();
    log_lines(0, 1000);
    pid_t child = fork();
    if (child == 0) { /* reads slowly */
        for (int i = 0; i < 100; i++) {
            char part[8192];
            ssize_t got = read(reader, part, sizeof part);
            usleep(got > 0 ? 2000 : 10000);
        }
        _exit(0);
    }
    log_finish();
    assert_true(log_due() == CLOCK_NEVER);
    assert_int_equal(waitpid(child, NULL, 0), child);
    log_lines(0, 1000);
    uint64_t began = clock_now();
    log_finish();
    assert_true(clock_now() - began < 5 * CLOCK_SECOND);
}

static void *log_from_a_thread(void *argument)
{
    for (unsigned i = 0; i < 400; i++) {
        log_info(EVENT_RUNTIME_ERROR, "thread %c %u", *(const char *)argument, i);
    }
    return NULL;
}

static void lines_of_threads_are_whole_and_each_thread_in_order(void **state)
{
    (void)state;
    static const char names[] = "abcd";
    pthread_t threads[4];
    become_pipe(0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_from_a_thread, (void *)(uintptr_t)(names + i)), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    read_all();
    unsigned next[4] = {0};
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        char name;
        unsigned number;
        const char *found = strstr(line, " INFO thread ");
        assert_non_null(found);
        assert_int_equal(sscanf(found, " INFO thread %c %u\n", &name, &number), 2);
        assert_int_equal(number, next[name - 'a']++);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(next[i], 400);
    }
}

static void what_clients_cause_is_limited_by_kind_and_counted(void **state)
{
    (void)state;
    pipe_make();
    for (unsigned i = 0; i < 1000; i++) {
        log_client(EVENT_REQUEST_REFUSED, "invalid_json", "number %u", i);
    }
    log_client(EVENT_REQUEST_REFUSED, "empty_message", "another kind");
    log_lines(0, 1); /* not limited */
    text_size = 0;
    read_some(sizeof text);
    assert_int_equal(capture_count(text, "WARNING invalid_json: number "), 20);
    assert_int_equal(capture_count(text, "WARNING empty_message: another kind\n"), 1);
    assert_int_equal(capture_count(text, "line 0"), 1);
    assert_int_equal(capture_count(text, "left out"), 0);
    assert_true(log_due() > clock_now() && log_due() <= clock_now() + CLOCK_SECOND);
    time_passed += CLOCK_SECOND;
    log_tend(clock_now());
    read_some(sizeof text);
    assert_int_equal(capture_count(text, "WARNING invalid_json: 980 more lines like this were left out\n"), 1);
    assert_true(log_due() == CLOCK_NEVER);
    log_client(EVENT_REQUEST_REFUSED, "invalid_json", "a token has come back");
    log_client(EVENT_REQUEST_REFUSED, "invalid_json", "a second has not");
    time_passed += 100 * CLOCK_SECOND;
    log_client(EVENT_REQUEST_REFUSED, "invalid_json", "much later");
    read_some(sizeof text);
    assert_int_equal(capture_count(text, "a token has come back"), 1);
    assert_int_equal(capture_count(text, "a second has not"), 0);
    assert_int_equal(capture_count(text, "WARNING invalid_json: 1 more line like this was left out\n"), 1);
    assert_non_null(strstr(strstr(text, "1 more line"), "much later"));
}

static void a_level_that_is_not_logged_is_not_counted(void **state)
{
    (void)state;
    pipe_make();
    log_configure(LOG_LEVEL_ERROR, LOG_TEXT);
    for (unsigned i = 0; i < 1000; i++) {
        log_client(EVENT_REQUEST_REFUSED, "invalid_json", "number %u", i);
    }
    assert_true(log_due() == CLOCK_NEVER);
    log_finish();
    text_size = 0;
    read_some(sizeof text);
    assert_int_equal(text_size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKLOG_TEST(a_log_that_nobody_reads_holds_nobody_up_and_says_what_it_lost),
        BACKLOG_TEST(a_slow_reader_misses_nothing),
        BACKLOG_TEST(lines_wait_for_a_disk_that_is_full),
        BACKLOG_TEST(a_reader_that_is_gone_kills_nobody),
        BACKLOG_TEST(nothing_is_kept_for_a_descriptor_that_is_closed),
        BACKLOG_TEST(a_child_does_not_write_what_its_parent_keeps),
        BACKLOG_TEST(the_end_waits_for_a_reader_but_not_for_none),
        BACKLOG_TEST(lines_of_threads_are_whole_and_each_thread_in_order),
        BACKLOG_TEST(what_clients_cause_is_limited_by_kind_and_counted),
        BACKLOG_TEST(a_level_that_is_not_logged_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
