/* cause: why a worker ended, in the words of the reply and the log. */
#include "descriptors.h"

#include "base/exits.h"
#include "supervisor/cause.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct cause_row {
    const char *name;
    int wait_status;
    enum { NOTHING, OUT_OF_MEMORY, DENIED, OWN_STATUS } known; /* besides the wait status */
    const char *text;
    enum error_category category;
    const char *type;
};

#define EXITED(status) ((status) << 8)
#define KILLED(signal) (signal)
#define DUMPED(signal) ((signal) | 0x80)
#define CRASHED        ERR_PROCESSING, "WorkerCrashed"
#define WORKER_EXITED  ERR_PROCESSING, "WorkerExited"

static const struct cause_row cause_rows[] = {
    {"an exit", EXITED(3), NOTHING, "exited with status 3", WORKER_EXITED},
    {"an exit in peace", EXITED(0), NOTHING, "exited with status 0", WORKER_EXITED},
    {"the largest status", EXITED(255), NOTHING, "exited with status 255", WORKER_EXITED},
    {"SIGKILL", KILLED(SIGKILL), NOTHING, "was killed by signal 9 (SIGKILL)", CRASHED},
    {"SIGSEGV", KILLED(SIGSEGV), NOTHING, "was killed by signal 11 (SIGSEGV)", CRASHED},
    {"SIGSEGV with a core dump", DUMPED(SIGSEGV), NOTHING, "was killed by signal 11 (SIGSEGV), core dumped", CRASHED},
    {"SIGABRT", KILLED(SIGABRT), NOTHING, "was killed by signal 6 (SIGABRT)", CRASHED},
    {"SIGBUS", KILLED(SIGBUS), NOTHING, "was killed by signal 7 (SIGBUS)", CRASHED},
    {"SIGILL", KILLED(SIGILL), NOTHING, "was killed by signal 4 (SIGILL)", CRASHED},
    {"SIGFPE", KILLED(SIGFPE), NOTHING, "was killed by signal 8 (SIGFPE)", CRASHED},
    {"SIGTERM", KILLED(SIGTERM), NOTHING, "was killed by signal 15 (SIGTERM)", CRASHED},
    {"SIGPIPE", KILLED(SIGPIPE), NOTHING, "was killed by signal 13 (SIGPIPE)", CRASHED},
    {"SIGXCPU", KILLED(SIGXCPU), NOTHING, "was killed by signal 24 (SIGXCPU)", CRASHED},
    {"a signal without a name", KILLED(60), NOTHING, "was killed by signal 60 (unnamed)", CRASHED},
    {"the kernel for want of memory", KILLED(SIGKILL), OUT_OF_MEMORY, NULL, ERR_MEMORY, ""},
    {"an abort for want of memory", KILLED(SIGABRT), DENIED,
     "was aborted (SIGABRT) by a library that ASYA_MEMORY_LIMIT had refused memory", ERR_MEMORY, ""},
    {"the same with a core dump", DUMPED(SIGABRT), DENIED, NULL, ERR_MEMORY, ""},
    {"descriptors that were tampered with", EXITED(EXIT_TAMPERED), OWN_STATUS, NULL, CRASHED},
    {"the same status, which the function chose", EXITED(EXIT_TAMPERED), NOTHING, "exited with status 76",
     WORKER_EXITED},
};

static void every_end_has_its_words_and_its_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cause_rows / sizeof cause_rows[0]; i++) {
        const struct cause_row *row = &cause_rows[i];
        struct cause cause = cause_from_wait(row->wait_status);
        cause.out_of_memory = row->known == OUT_OF_MEMORY;
        cause.memory_denied = row->known == DENIED;
        cause.own = row->known == OWN_STATUS;
        char text[CAUSE_TEXT_SIZE];
        struct error err;
        cause_describe(&cause, text);
        cause_error(&cause, &err);
        if ((row->text != NULL && strcmp(text, row->text) != 0) || err.category != row->category ||
            strcmp(err.type, row->type) != 0 || strstr(err.text, text) == NULL) {
            fail_msg("%s: %s; %s %s: %s", row->name, text, error_code(err.category), err.type, err.text);
        }
    }
}

static void no_end_overflows_the_text(void **state)
{
    (void)state;
    for (int status = 0; status <= 0xFFFF; status++) {
        char text[CAUSE_TEXT_SIZE];
        struct error err;
        struct cause cause = cause_from_wait(status);
        cause_describe(&cause, text);
        cause_error(&cause, &err);
        assert_true(strlen(text) > 0 && strlen(text) < sizeof text - 1);
        assert_int_equal(err.category, ERR_PROCESSING);
    }
}

static void real_ends_are_told_apart(void **state)
{
    (void)state;
    static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1, SIGALRM};
    for (size_t i = 0; i <= sizeof signals / sizeof signals[0]; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (i < sizeof signals / sizeof signals[0]) {
                (void)signal(signals[i], SIG_DFL);
                (void)raise(signals[i]);
            }
            _exit(7);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        struct cause cause = cause_from_wait(status);
        assert_int_equal(cause.signal, i < sizeof signals / sizeof signals[0] ? signals[i] : 0);
        assert_int_equal(cause.status, i < sizeof signals / sizeof signals[0] ? 0 : 7);
        assert_false(cause.out_of_memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(every_end_has_its_words_and_its_reply),
        DESCRIPTOR_TEST(no_end_overflows_the_text),
        DESCRIPTOR_TEST(real_ends_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
