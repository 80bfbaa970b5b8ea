#include "server/fdholder.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/control.h"
#include "server/fdstore.h"
#include "server/rights.h"
#include "server/table.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    GAP_MAX = 1 << 12, /* numbers without a file, after which no connection is expected any more */
    ROUNDS_MAX = 250,  /* attempts to send while the channel is full, 1 ms apart */
};

#define COLLECT_TIMEOUT (250 * CLOCK_MS)
#define LIFE_ALONE      (1 * CLOCK_SECOND) /* of an fdholder whose worker is dead: it is asked long before */
#define DEATH_SIGNAL    SIGALRM            /* the worker is dead; nobody else sends it to an fdholder */

/* ---- the fdholder's own process -----------------------------------------------------------------------------------
 */

static bool fdholder_give(int channel, const int *fds, uint32_t count)
{
    int status;
    for (int i = 0; i < ROUNDS_MAX; i++) {
        status = control_send(channel, CONTROL_HELD, fds, count);
        if (status != -EAGAIN && status != -ETOOMANYREFS) {
            return status == 0;
        }
        (void)poll(NULL, 0, 1); /* the supervisor reads as fast as we send, and what it has read is in flight no more */
    }
    return false;
}

struct parcel {
    int channel;
    uint32_t count;
    int fds[HELD_MAX];
    bool failed;
};

static bool fdholder_pack(void *context, int fd)
{
    struct parcel *parcel = context;
    parcel->fds[parcel->count++] = fd;
    if (parcel->count == HELD_MAX) {
        parcel->failed = !fdholder_give(parcel->channel, parcel->fds, parcel->count);
        parcel->count = 0;
    }
    return !parcel->failed;
}

/* Gives all of our connections in the table, then none. */
static void fdholder_give_all(int channel, const struct table_name *listener)
{
    struct parcel parcel = {.channel = channel};
    table_search(listener, GAP_MAX, fdholder_pack, &parcel);
    if (!parcel.failed && (parcel.count == 0 || fdholder_give(channel, parcel.fds, parcel.count))) {
        (void)fdholder_give(channel, NULL, 0);
    }
}

static void fdholder_wake(int number) { (void)number; }

/* Waits until the channel says something. The function may have closed its number and got it again for a file that
 * never does: so for no longer than LIFE_ALONE once the worker is dead. Not with poll(), in which the signal could be
 * missed. */
static bool fdholder_await_channel(int channel, pid_t worker)
{
    struct sigaction action = {.sa_handler = fdholder_wake};
    (void)sigaction(DEATH_SIGNAL, &action, NULL);
    (void)prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
    uint64_t mask = ~(UINT64_C(1) << (DEATH_SIGNAL - 1)); /* as the kernel has it */
    struct pollfd look = {.fd = channel, .events = POLLIN};
    long status;
    do {
        bool alone = getppid() != worker; /* also where it died before we could ask to be told */
        struct timespec life = {.tv_sec = (time_t)(LIFE_ALONE / CLOCK_SECOND)};
        status = syscall(SYS_ppoll, &look, 1L, alone ? &life : NULL, &mask, sizeof mask);
    } while (status < 0 && errno == EINTR);
    return status == 1;
}

struct fdholder {
    int channel;
    struct file_identity identity; /* the channel's */
    struct table_name listener;
    pid_t worker;
};

static void fdholder_keep(const struct fdholder *fdholder) __attribute__((noreturn));

static void fdholder_keep(const struct fdholder *fdholder)
{
    (void)setpgid(0, 0); /* a worker is killed with its group */
    (void)prctl(PR_SET_NAME, "asya-fdholder");
    struct control_message message;
    struct file_identity found;
    int fds[CONTROL_FDS_MAX];
    /* the end of the channel: the supervisor needs no fdholder any more, or is gone */
    if (fdholder_await_channel(fdholder->channel, fdholder->worker) && fd_stat(fdholder->channel, &found) == 0 &&
        file_identity_equal(&found, &fdholder->identity) && control_receive(fdholder->channel, &message, fds) == 1 &&
        message.type == CONTROL_COLLECT) {
        fdholder_give_all(fdholder->channel, &fdholder->listener);
    }
    _exit(0);
}

int fdholder_start(int channel, int listener)
{
    struct fdholder fdholder = {.channel = channel, .worker = getpid()};
    int known = fd_stat(channel, &fdholder.identity);
    if (known == 0) {
        known = table_name_of(listener, &fdholder.listener);
    }
    if (known < 0) {
        return known;
    }
    /* No exit signal: the function's wait() sees no child of its own in it. All signals blocked, as the supervisor has
     * those that matter: what is sent to a whole group or terminal is not for the fdholder. */
    sigset_t all;
    sigset_t before;
    memset(&all, 0xFF, sizeof all);
    if (sigprocmask(SIG_SETMASK, &all, &before) != 0) {
        return -errno;
    }
    long pid = syscall(SYS_clone, (long)CLONE_FILES, 0L, 0L, 0L, 0L);
    if (pid == 0) {
        fdholder_keep(&fdholder);
    }
    int status = pid < 0 ? -errno : 0;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* ---- the supervisor's side -------------------------------------------------------------------------------------- */

/* Of one message; closes what is no connection, and what no fdholder of ours would have sent. */
static void fdholder_take_in(struct held *held, const struct control_message *message, int *fds)
{
    for (uint32_t i = 0; i < message->count; i++) {
        if (held->count < HELD_MAX && fdstore_is_connection(fds[i])) {
            held->numbers[held->count] = message->numbers[i];
            held->fds[held->count++] = fds[i];
        } else {
            rights_close(&fds[i], 1);
        }
    }
}

bool fdholder_ask(int channel) { return channel >= 0 && control_send(channel, CONTROL_COLLECT, NULL, 0) == 0; }

uint64_t fdholder_deadline(void) { return clock_after(clock_now(), COLLECT_TIMEOUT); }

enum fdholder_step fdholder_take(int channel, uint64_t deadline, struct held *ret_kept)
{
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    int status;
    ret_kept->count = 0;
    while ((status = control_receive(channel, &message, fds)) == -EAGAIN) {
        struct pollfd wait = {.fd = channel, .events = POLLIN};
        int timeout = clock_timeout(clock_now(), deadline);
        if (timeout == 0 || (poll(&wait, 1, timeout) < 0 && errno != EINTR)) {
            return FDHOLDER_SILENT;
        }
    }
    if (status != 1) {
        return FDHOLDER_SILENT;
    }
    if (message.type == CONTROL_HELD && message.count == 0) {
        return FDHOLDER_DONE;
    }
    fdholder_take_in(ret_kept, &message, fds);
    return FDHOLDER_GAVE;
}
