#include "supervisor/cause.h"

#include "base/exits.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

struct signal_name {
    int number;
    const char *name;
};

/* Own table: strsignal is locale-dependent and sigabbrev_np is newer than the oldest libc we run on. */
static const struct signal_name signal_names[] = {
    {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"},
    {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},
    {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"}, {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
    {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"},
};

const char *cause_signal_name(int number)
{
    for (size_t i = 0; i < sizeof signal_names / sizeof signal_names[0]; i++) {
        if (signal_names[i].number == number) {
            return signal_names[i].name;
        }
    }
    return "unnamed";
}

struct cause cause_from_wait(int wait_status)
{
    if (WIFSIGNALED(wait_status)) {
        return (struct cause){.signal = WTERMSIG(wait_status), .core = WCOREDUMP(wait_status)};
    }
    return (struct cause){.status = WEXITSTATUS(wait_status)};
}

void cause_describe(const struct cause *cause, char text[CAUSE_TEXT_SIZE])
{
    if (cause->out_of_memory) {
        (void)snprintf(text, CAUSE_TEXT_SIZE, "was killed by the kernel for want of memory (OOM)");
    } else if (cause->lost) {
        (void)snprintf(text, CAUSE_TEXT_SIZE, "was killed and does not end (frozen, traced, or waiting in the kernel)");
    } else if (cause->overwrote) {
        (void)snprintf(text, CAUSE_TEXT_SIZE, "was ended because the function wrote over the runtime's memory");
    } else if (cause->overran && (cause->signal == SIGTERM || cause->signal == SIGKILL)) {
        (void)snprintf(text, CAUSE_TEXT_SIZE,
                       "was ended because a function did not stop at its time limit (ASYA_HANDLER_TIMEOUT)");
    } else if (cause->memory_denied) {
        (void)snprintf(text, CAUSE_TEXT_SIZE,
                       "was aborted (SIGABRT) by a library that ASYA_MEMORY_LIMIT had refused memory%s",
                       cause->core ? ", core dumped" : "");
    } else if (cause->signal != 0) {
        (void)snprintf(text, CAUSE_TEXT_SIZE, "was killed by signal %d (%s)%s", cause->signal,
                       cause_signal_name(cause->signal), cause->core ? ", core dumped" : "");
    } else if (cause->own && cause->status == EXIT_TAMPERED) {
        (void)snprintf(text, CAUSE_TEXT_SIZE, "gave up: the function closed or replaced descriptors of the runtime");
    } else {
        (void)snprintf(text, CAUSE_TEXT_SIZE, "exited with status %d", cause->status);
    }
}

void cause_error(const struct cause *cause, struct error *err)
{
    char text[CAUSE_TEXT_SIZE];
    cause_describe(cause, text);
    if (cause->out_of_memory || cause->memory_denied) {
        error_set(err, ERR_MEMORY, 0, "the worker process %s while it served this request", text);
        return;
    }
    bool crashed =
        cause->lost || cause->overwrote || cause->signal != 0 || (cause->own && cause->status == EXIT_TAMPERED);
    error_set_processing(err, crashed ? "WorkerCrashed" : "WorkerExited",
                         "the worker process %s while it served this request", text);
}
