#include "supervisor/worker.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/cancel.h"
#include "server/control.h"
#include "supervisor/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOST_AFTER      (1 * CLOCK_SECOND) /* between SIGKILL and giving up on a process that does not end */
#define BACKOFF_FIRST   (100 * CLOCK_MS)
#define BACKOFF_LONGEST (10 * CLOCK_SECOND)

enum {
    STACK_SIZE = 1 << 16, /* a whole pipe */
    STACK_ROUNDS = 128,   /* further reads: a process that writes without end must not hold us up */
};

static size_t page_unit(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* The size of a scoreboard in whole pages. */
static size_t page_size(void)
{
    size_t unit = page_unit();
    return (sizeof(struct scoreboard) + unit - 1) / unit * unit;
}

/* A scoreboard between two pages that nobody may touch: code that runs over the end of memory beside it crashes before
 * it gets here. */
static struct scoreboard *make_board(void)
{
    size_t unit = page_unit();
    char *map = mmap(NULL, page_size() + 2 * unit, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(map + unit, page_size(), PROT_READ | PROT_WRITE) != 0) {
        int error = errno;
        (void)munmap(map, page_size() + 2 * unit);
        errno = error;
        return NULL;
    }
    struct scoreboard *board = (struct scoreboard *)(void *)(map + unit);
    scoreboard_reset(board);
    return board;
}

void worker_drop_board(struct worker *worker)
{
    size_t unit = page_unit();
    (void)munmap((char *)worker->board - unit, page_size() + 2 * unit);
    worker->board = NULL;
}

int worker_init(struct worker *worker, uint32_t index)
{
    *worker = (struct worker){.index = index,
                              .control = -1,
                              .stack = -1,
                              .fdholder = -1,
                              .printed = {-1, -1},
                              .replaces = WORKER_NONE,
                              .killed_at = CLOCK_NEVER};
    tally_reset(&worker->seen);
    worker->board = make_board();
    return worker->board != NULL ? 0 : -errno;
}

bool worker_is_lost(const struct worker *worker, uint64_t now, uint64_t *next)
{
    uint64_t deadline = clock_after(worker->killed_at, LOST_AFTER);
    bool is_lost = worker->pid > 0 && deadline <= now;
    *next = worker->pid > 0 && !is_lost ? clock_earlier(*next, deadline) : *next;
    return is_lost;
}

void worker_lose(struct worker *worker)
{
    struct scoreboard *board = make_board();
    if (board != NULL) { /* without memory for another one the next process shares the old one, which does no harm as
                            long as the lost process does not run */
        worker_drop_board(worker);
        worker->board = board;
        worker->is_apart = true;
    }
}

uint64_t worker_restart_delay(uint32_t failures)
{
    if (failures == 0) {
        return 0;
    }
    uint64_t delay = BACKOFF_FIRST;
    for (uint32_t i = 1; i < failures && delay < BACKOFF_LONGEST; i++) {
        delay *= 2;
    }
    return delay < BACKOFF_LONGEST ? delay : BACKOFF_LONGEST;
}

/* The pipes for what it prints. Only our ends do not block: the function's are its standard output and error. Returns 0
 * or -errno. */
static int worker_open_output(struct worker *worker, const struct worker *template, struct worker_ends *ends)
{
    struct mark_head head = template != NULL && template->lines != NULL ? template->lines[0].head : mark_head_make();
    for (size_t i = 0; i < MARK_STREAMS && worker->lines != NULL; i++) {
        int pair[2];
        if (pipe2(pair, O_CLOEXEC) != 0) {
            return -errno;
        }
        worker->printed[i] = pair[0];
        ends->printed[i] = pair[1];
        int status = fd_set_nonblocking(pair[0]);
        if (status < 0) {
            return status;
        }
        lines_reset(&worker->lines[i], &head);
    }
    return 0;
}

int worker_prepare(struct worker *worker, const struct worker *template, struct worker_ends *ret_ends)
{
    struct worker_ends ends = WORKER_ENDS_NONE;
    int stack[2] = {-1, -1};
    int status = control_pair(&worker->control, &ends.control);
    if (status == 0) {
        status = control_pair(&worker->fdholder, &ends.fdholder);
    }
    if (status == 0 && template == NULL) {
        status = fdstore_grow(&worker->fdstore, FDSTORE_KEPT);
    }
    if (status == 0) {
        status = worker_open_output(worker, template, &ends);
    }
    if (status == 0 && pipe2(stack, O_CLOEXEC | O_NONBLOCK) != 0) {
        status = -errno;
    }
    if (status < 0) {
        worker_ends_done(&ends);
        worker_ended(worker);
        return status;
    }
    scoreboard_reset(worker->board);
    memset(worker->runs, 0, sizeof worker->runs);
    worker->overwritten = false;
    worker->stack = stack[0];
    ends.stack = stack[1];
    *ret_ends = ends;
    return 0;
}

void worker_ends_done(struct worker_ends *ends)
{
    fd_close(&ends->control);
    fd_close(&ends->stack);
    fd_close(&ends->fdholder);
    fd_close(&ends->printed[0]);
    fd_close(&ends->printed[1]);
}

void worker_forked(struct worker *worker, pid_t pid, struct worker_ends *ends, uint64_t now)
{
    worker_ends_done(ends);
    for (uint32_t i = 0; i < worker->fdstore.count; i++) {
        fd_close(&worker->fdstore.send[i]);
    }
    (void)setpgid(pid, pid); /* the worker does it too, since either may run first */
    worker->pid = pid;
    worker->state = WORKER_STARTING;
    worker->started_at = now;
    worker->still_at = clock_after(now, STILL_AFTER);
    worker->unwell = worker->timed_out = worker->due = worker->stopped = worker->wedged = worker->overran = false;
    worker->grown = worker->looked_at = worker->large = worker->terminated = false;
    worker->progress = worker->stacks_at = 0;
    worker->nudged = UINT64_MAX;
    worker->deaf_at = worker->kill_at = worker->killed_at = worker->blocked_since = CLOCK_NEVER;
    worker->oom_known = cgroup_oom_kills(&worker->oom_kills);
}

/* Appends without STACK_MARKs, up to `limit` bytes. Returns the size of the text. */
static size_t worker_append_text(char *text, size_t limit, size_t used, const char *more, size_t size)
{
    for (size_t i = 0; i < size && used < limit; i++) {
        if (more[i] != STACK_MARK) {
            text[used++] = more[i];
        }
    }
    return used;
}

void worker_read_stack(const struct worker *worker, char *text, size_t size)
{
    static char all[STACK_SIZE]; /* too large for a stack frame */
    size_t used = 0;
    ssize_t got;
    while (used < sizeof all && (got = read(worker->stack, all + used, sizeof all - used)) > 0) {
        used += (size_t)got;
    }
    char rest[512];
    for (int i = 0; i < STACK_ROUNDS && read(worker->stack, rest, sizeof rest) > 0;
         i++) { /* the rest must not appear in the next line */
    }
    const char *mark = memchr(all, STACK_MARK, used);
    size_t before = mark != NULL ? (size_t)(mark - all) : used;
    size_t limit = size - 1;
    size_t kept = worker_append_text(text, limit, 0, all + before, used - before);
    text[worker_append_text(text, limit, kept, all, before)] = '\0';
}

void worker_end(struct worker *worker)
{
    worker->state = WORKER_STOPPING;
    (void)scoreboard_close(worker->board);
}

void worker_close(struct worker *worker)
{
    fd_close(&worker->control);
    fd_close(&worker->stack);
    fd_close(&worker->fdholder);
    fd_close(&worker->printed[0]);
    fd_close(&worker->printed[1]);
}

void worker_ended(struct worker *worker)
{
    worker_close(worker);
    fdstore_done(&worker->fdstore);
    worker->pid = 0;
    worker->snapshot_number = 0;
    worker->incidents_seen = 0; /* the next one begins a new ring */
    worker->state = WORKER_DOWN;
    worker->due = false;
}

void worker_forget(struct worker *worker)
{
    worker_close(worker);
    fdstore_done(&worker->fdstore);
    worker_drop_board(worker);
}

uint32_t worker_add_slots(struct worker *worker, int *fds, uint32_t count, int end)
{
    uint32_t usable = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool fits = worker->fdstore.count < SLOTS_MAX;
        if (!fits || fds[i] >= end) {
            fd_close(&fds[i]);
        }
        if (fits) {
            worker->fdstore.send[worker->fdstore.count] = -1;
            worker->fdstore.receive[worker->fdstore.count++] = fds[i];
            usable += fds[i] >= 0;
        }
    }
    return usable;
}

int worker_peek(const struct worker *worker, uint32_t slot)
{
    return slot < worker->fdstore.count ? fdstore_peek(worker->fdstore.receive[slot]) : -EAGAIN;
}

void worker_give(struct worker *worker, enum control_type type, int fd)
{
    int status = worker->pid > 0 ? control_send(worker->control, type, &fd, fd >= 0) : 0;
    if (status < 0 && status != -EPIPE && status != -ECONNRESET) {
        worker_kill(worker, SIGKILL);
    }
}

void worker_kill(struct worker *worker, int signal)
{
    if (worker->pid > 0) {
        if (signal == SIGKILL && worker->killed_at == CLOCK_NEVER) {
            worker->killed_at = clock_now();
        }
        (void)kill(worker->pid, signal); /* it was not reaped, so the number cannot be another process's */
    }
}
