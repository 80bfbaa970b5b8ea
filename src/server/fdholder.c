#include "server/fdholder.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/control.h"
#include "server/fdstore.h"
#include "server/rights.h"
#include "server/table.h"
#include "server/unstored.h"

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

enum { GAP_MAX = 1 << 12 }; /* after so many numbers without a file, no further connection is expected */

#define COLLECT_TIMEOUT (250 * CLOCK_MS)
#define GIVE_TIMEOUT    (150 * CLOCK_MS)   /* shorter: what cannot be given is answered while the supervisor waits */
#define LIFE_ALONE      (1 * CLOCK_SECOND) /* of an fdholder whose worker is dead; the supervisor asks it long before */
#define DEATH_SIGNAL    SIGALRM            /* sent by the kernel when the worker dies; nobody else sends it */

/* ---- the fdholder's own process --------------------------------------------------------------------------------- */

struct parcel {
    int channel;
    uint64_t until; /* for all of them together */
    uint32_t count;
    int fds[HELD_MAX];
    bool failed;
};

/* Given ones are closed here, so that none of them is answered here as well. */
static bool fdholder_give(struct parcel *parcel)
{
    int status = control_send(parcel->channel, CONTROL_HELD, parcel->fds, parcel->count);
    while ((status == -EAGAIN || status == -ETOOMANYREFS) && clock_now() < parcel->until) {
        (void)poll(NULL, 0, 1); /* what the supervisor has received is no longer in flight: soon there is room */
        status = control_send(parcel->channel, CONTROL_HELD, parcel->fds, parcel->count);
    }
    for (uint32_t i = 0; i < parcel->count && status == 0; i++) {
        fd_close(&parcel->fds[i]);
    }
    parcel->count = 0;
    return status == 0;
}

static bool fdholder_pack(void *context, int fd)
{
    struct parcel *parcel = context;
    parcel->fds[parcel->count++] = fd;
    if (parcel->count == HELD_MAX) {
        parcel->failed = !fdholder_give(parcel);
    }
    return !parcel->failed;
}

/* Whether the supervisor waits no longer. Then the scoreboard may be that of the next worker. */
static bool fdholder_is_late(int channel)
{
    struct pollfd look = {.fd = channel};
    return poll(&look, 1, 0) != 0;
}

/* Gives all connections in the table, then a message without any. What the kernel does not let pass (ETOOMANYREFS: too
 * many descriptors of this user are in flight) is answered here. */
static void fdholder_give_all(int channel, const struct unstored *about)
{
    struct parcel parcel = {.channel = channel, .until = clock_after(clock_now(), GIVE_TIMEOUT)};
    table_search(&about->listener, GAP_MAX, fdholder_pack, &parcel);
    if (!parcel.failed && parcel.count > 0) {
        parcel.failed = !fdholder_give(&parcel);
    }
    if (parcel.failed && about->board != NULL && !fdholder_is_late(channel)) {
        unstored_answer(about);
    }
    (void)fdholder_give(&parcel);
}

static void fdholder_wake(int number) { (void)number; }

/* Waits until something arrives on the channel. The function may have closed its number and opened a file there that
 * never becomes readable, so the wait ends LIFE_ALONE after the worker's death. ppoll() instead of poll(): with poll()
 * the signal could arrive just before the wait, and be missed. */
static bool fdholder_await_channel(int channel, pid_t worker)
{
    struct sigaction action = {.sa_handler = fdholder_wake};
    (void)sigaction(DEATH_SIGNAL, &action, NULL);
    (void)prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
    uint64_t mask = ~(UINT64_C(1) << (DEATH_SIGNAL - 1)); /* the kernel's own format of a signal set */
    struct pollfd look = {.fd = channel, .events = POLLIN};
    long status;
    do {
        bool alone = getppid() != worker; /* true also if it died before prctl() above */
        struct timespec life = {.tv_sec = (time_t)(LIFE_ALONE / CLOCK_SECOND)};
        status = syscall(SYS_ppoll, &look, 1L, alone ? &life : NULL, &mask, sizeof mask);
    } while (status < 0 && errno == EINTR);
    return status == 1;
}

struct fdholder {
    int channel;
    struct file_identity identity; /* of the channel */
    struct unstored unstored;
    pid_t worker;
};

static void fdholder_keep(const struct fdholder *fdholder) __attribute__((noreturn));

static void fdholder_keep(const struct fdholder *fdholder)
{
    (void)setpgid(0, 0); /* own group: the worker's whole group is killed */
    (void)prctl(PR_SET_NAME, "asya-fdholder");
    struct control_message message;
    struct file_identity found;
    int fds[CONTROL_FDS_MAX];
    /* the channel's end means that the supervisor needs no fdholder any more, or is gone */
    if (fdholder_await_channel(fdholder->channel, fdholder->worker) && fd_stat(fdholder->channel, &found) == 0 &&
        file_identity_equal(&found, &fdholder->identity) && control_receive(fdholder->channel, &message, fds) == 1 &&
        message.type == CONTROL_COLLECT) {
        fdholder_give_all(fdholder->channel, &fdholder->unstored);
    }
    _exit(0);
}

int fdholder_start(int channel, int listener, struct scoreboard *board, enum protocol protocol)
{
    struct fdholder fdholder = {.channel = channel,
                                .worker = getpid(),
                                .unstored = {.board = board,
                                             .protocol = protocol,
                                             .unread = "the worker has ended; this request was not run, send it again",
                                             .running = "the worker process ended while it served this request"}};
    int known = fd_stat(channel, &fdholder.identity);
    if (known == 0) {
        known = table_name_of(listener, &fdholder.unstored.listener);
    }
    if (known < 0) {
        return known;
    }
    /* No exit signal, so that the function's wait() does not see this child. All signals are blocked (the supervisor
     * has blocked those that matter), because signals to a whole group or terminal are not meant for the fdholder. */
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

/* Takes the connections out of one message; closes what is not a connection, and what is more than an fdholder
 * sends. */
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
