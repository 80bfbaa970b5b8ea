/*
 * The scoreboard and the fdstore entries of a worker that writes what it likes into both: every client gets at most one
 * reply, which is valid, and its end; nothing is leaked; the watch of the same scoreboard returns.
 */
#include "json_check.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/fdstore.h"
#include "supervisor/deadline.h"
#include "supervisor/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { SLOTS = 8 };

static struct worker worker;
static struct orphans orphans;
static struct scoreboard board;

/* Has ended and is never waited for: its number is nobody else's, and signals to it reach nobody. */
static pid_t dead_process(void)
{
    static pid_t pid;
    if (pid == 0) {
        pid = fork();
        if (pid == 0) {
            _exit(0);
        }
    }
    return pid;
}

static int lowest_free(void)
{
    int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

static void send_twice(int to, int fd)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    char byte = 0;
    const int both[2] = {fd, fd};
    memset(&ancillary, 0, sizeof ancillary);
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(rights), both, sizeof both);
    (void)sendmsg(to, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void put(const struct fdstore *fdstore, uint32_t slot, int fd)
{
    if (fdstore_put(fdstore, slot, fd) != 0) {
        abort();
    }
    fd_close(&fd);
}

/* Fills a slot with what `kind` says. Returns the client whose connection lies there alone, or -1. */
static int fill(const struct fdstore *fdstore, uint32_t slot, unsigned char kind)
{
    int pair[2];
    switch (kind % 8) {
    case 0:
        return -1;
    case 1:
        put(fdstore, slot, open("/dev/null", O_RDWR | O_CLOEXEC));
        return -1;
    case 2:
        (void)!write(fdstore->send[slot], "garbage", kind % 7);
        return -1;
    case 3:
        send_twice(fdstore->send[slot], STDERR_FILENO);
        return -1;
    case 4:
        put(fdstore, slot, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        return -1;
    default:
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
            abort();
        }
        if (kind % 8 == 6) {
            (void)!write(pair[0], "unread", 6);
        }
        put(fdstore, slot, pair[1]);
        if (kind % 8 == 7) {
            fd_close(&pair[0]); /* gone already */
            return -1;
        }
        return pair[0];
    }
}

/* One JSON value, as it is, behind its length, or behind an HTTP head: the scoreboard says which protocol is spoken. */
static bool is_reply(const char *reply, size_t size)
{
    if (size >= 7 && memcmp(reply, "HTTP/1.", 7) == 0) {
        const char *end = memmem(reply, size, "\r\n\r\n", 4);
        return end != NULL && json_check(end + 4, size - (size_t)(end + 4 - reply));
    }
    if (size >= 4 && reply[0] == '\0') {
        const unsigned char *prefix = (const unsigned char *)reply;
        size_t length = (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
        return length == size - 4 && json_check(reply + 4, length);
    }
    return json_check(reply, size);
}

/* At most one reply, and then the end. */
static void check_client(int *client)
{
    char reply[16384];
    size_t size = 0;
    ssize_t got;
    while ((got = recv(*client, reply + size, sizeof reply - size, MSG_DONTWAIT)) > 0) {
        size += (size_t)got;
    }
    /* closed without a word over unread input it is a reset, as for a reply that may have begun */
    bool ended = got == 0 || (size == 0 && errno == ECONNRESET);
    if (!ended || (size > 0 && !is_reply(reply, size))) {
        abort();
    }
    fd_close(client);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < SLOTS + 1) {
        return 0;
    }
    log_configure((enum log_level)(LOG_LEVEL_ERROR + 1), LOG_TEXT); /* silence */
    pid_t process = dead_process();
    int before = lowest_free();
    memset(&worker, 0, sizeof worker);
    worker = (struct worker){.pid = process, .state = WORKER_READY, .control = -1, .fdholder = -1, .board = &board};
    worker.stack = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fdstore_grow(&worker.fdstore, SLOTS) != 0) {
        abort();
    }
    int clients[SLOTS];
    for (uint32_t i = 0; i < SLOTS; i++) {
        clients[i] = fill(&worker.fdstore, i, data[i]);
    }
    struct options options = {.handler_timeout = data[SLOTS] % 2 == 0 ? CLOCK_SECOND : 0,
                              .cancel_on_disconnect = data[SLOTS] % 4 < 2};
    data += SLOTS + 1;
    size -= SLOTS + 1;
    size_t slots_at = offsetof(struct scoreboard, slots);
    memset(&board, 0, sizeof board);
    memcpy((unsigned char *)&board + slots_at, data, size < sizeof board - slots_at ? size : sizeof board - slots_at);
    for (uint64_t now = CLOCK_SECOND; now < 8 * CLOCK_SECOND; now += CLOCK_SECOND / 2) {
        (void)deadline_tend(&worker, &options, now);
    }
    struct error err;
    error_set_processing(&err, "WorkerCrashed", "the worker process was killed");
    struct recovery recovery = {.board = &board, .orphans = &orphans, .died = &err, .late = &err};
    recover_slots(&recovery, worker.fdstore.receive, worker.fdstore.count);
    struct recovered recovered = recovery.done;
    if (recovered.answered + recovered.handed_on + recovered.partial > SLOTS || orphans.count != recovered.handed_on) {
        abort();
    }
    recover_dismiss(&orphans, &(struct listener){.fd = -1}, &err);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (clients[i] >= 0) {
            check_client(&clients[i]);
        }
    }
    fdstore_done(&worker.fdstore);
    fd_close(&worker.stack);
    if (lowest_free() != before) {
        abort();
    }
    return 0;
}
