#include "supervisor/cause.h"

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

static const char *signal_name(int number)
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

void cause_describe(const struct cause *cause, char *text, size_t size)
{
    if (cause->signal != 0) {
        (void)snprintf(text, size, "killed by signal %d (%s)%s", cause->signal, signal_name(cause->signal),
                       cause->core ? ", core dumped" : "");
    } else {
        (void)snprintf(text, size, "exited with status %d", cause->status);
    }
}

const char *cause_type(const struct cause *cause) { return cause->signal != 0 ? "WorkerCrashed" : "WorkerExited"; }
