/*
 * ASYA_CAPTURE_OUTPUT: what a worker, its libraries and its programs print becomes records of the log
 * (docs/decisions/0024).
 *
 * Text that a mark follows is of the request that the mark names. Text that none follows yet is of the request that
 * runs, if no mark is on its way: a request first writes its mark, then counts it on the scoreboard, and only then can
 * the next one be seen there. So whoever sees the next one sees the count, too, and waits for the mark.
 *
 * However much is printed, one turn of the loop reads from two pipes, once each, and logs what that was: the kernel's
 * list of those that are readable goes round. A function that prints faster than that waits for its pipe.
 *
 * Reading each line as it comes would wake the supervisor, and interrupt the worker, for each. So after a look that has
 * found the end of all pipes the next one is a moment later.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervisor/running.h"
#include "supervisor/state.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PAUSE    (2 * CLOCK_MS)     /* between two looks; a pipe holds 64 KiB meanwhile */
#define PATIENCE (1 * CLOCK_SECOND) /* with a line that is not completed, and with a mark that does not come */

enum {
    CAPTURE_TURN = 4,  /* pipes in one turn: of LINES_READ bytes each, some 3 ms of short lines */
    CAPTURE_LAST = 64, /* reads from a dead worker's pipe, which its children may still fill */
};

static const char *const stream_names[MARK_STREAMS] = {"stdout", "stderr"};

/* The request that runs alone, as the scoreboard has it. */
struct suspect {
    char id[SCOREBOARD_ID_MAX + 1];
    char trace[SCOREBOARD_TRACE_SIZE + 1];
    struct log_request request;
};

static void capture_suspect(const struct supervisor *supervisor, const struct worker *worker, struct suspect *ret_found)
{
    uint32_t slot = supervisor->options->concurrency == 1 ? running_alone(worker->board) : SLOTS_MAX;
    ret_found->request = (struct log_request){0};
    if (slot < SLOTS_MAX) {
        running_name(worker->board, slot, ret_found->id);
        running_trace(worker->board, slot, ret_found->trace);
        ret_found->request =
            (struct log_request){.id = view_of(ret_found->id), .traceparent = view_of(ret_found->trace)};
    }
}

/* Logs all of this share. Returns whether there was any. */
static bool capture_log(const struct worker *worker, size_t stream, enum lines_share share,
                        const struct log_request *request)
{
    struct line_piece piece;
    bool any = false;
    while (lines_next(&worker->lines[stream], share, &piece)) {
        char text[LINES_MOST + 1];
        memcpy(text, piece.text.data, piece.text.size);
        text[piece.text.size] = '\0'; /* what the log asks for */
        const struct log_facts facts = {.request = piece.is_known ? piece.request : *request,
                                        .worker = worker->index,
                                        .pid = (int)worker->pid,
                                        .stream = stream_names[stream],
                                        .continues = piece.continues};
        log_output(&facts, (struct view){text, piece.text.size});
        any = true;
    }
    return any;
}

/* Logs what may be logged now. `share` is for text that no mark follows. */
static void capture_sort(const struct supervisor *supervisor, const struct worker *worker, size_t stream,
                         enum lines_share share)
{
    struct lines *lines = &worker->lines[stream];
    struct suspect suspect = {.request = {.id = {NULL, 0}}};
    bool any = capture_log(worker, stream, LINES_MARKED, &suspect.request);
    if (!lines_are_empty(lines)) {
        capture_suspect(supervisor, worker, &suspect);
        atomic_thread_fence(memory_order_acquire); /* the count after the names */
        bool is_marked =
            lines->ends < atomic_load_explicit(&worker->board->printed[stream].written, memory_order_relaxed);
        if (is_marked && share != LINES_LAST) {
            suspect.request = (struct log_request){0};
            bool is_full = lines->size - lines->begin == LINES_SIZE;
            share = share == LINES_WHOLE && !is_full ? LINES_MARKED : share;
        }
        any = capture_log(worker, stream, share, &suspect.request) || any;
    }
    lines->since = lines_are_empty(lines) ? CLOCK_NEVER : any ? clock_now() : lines->since;
}

/* Reads once. Returns how much was there. */
static size_t capture_read(struct worker *worker, size_t stream)
{
    struct lines *lines = &worker->lines[stream];
    _Atomic uint64_t *taken = &worker->board->printed[stream].taken;
    size_t room;
    char *target = lines_room(lines, &room);
    uint64_t before = atomic_load_explicit(taken, memory_order_relaxed);
    atomic_store_explicit(taken, before | 1, memory_order_seq_cst);
    ssize_t got = read(worker->printed[stream], target, room);
    atomic_store_explicit(taken, (before & ~UINT64_C(1)) + 2 * (uint64_t)(got > 0 ? got : 0), memory_order_seq_cst);
    if (got > 0) {
        lines_add(lines, (size_t)got, clock_now());
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        fd_close(&worker->printed[stream]); /* nobody can print any more; that ends the watching, too */
    }
    return got > 0 ? (size_t)got : 0;
}

/* Has the loop look at the pipes once. */
static bool capture_arm(struct supervisor *supervisor, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = &supervisor->printed};
    supervisor->printed_at = CLOCK_NEVER;
    return epoll_ctl(supervisor->epoll, operation, supervisor->printed, &event) == 0;
}

bool capture_open(struct supervisor *supervisor)
{
    if (!supervisor->options->capture_output) {
        return true;
    }
    supervisor->lines = calloc((size_t)supervisor->process_count * MARK_STREAMS, sizeof *supervisor->lines);
    supervisor->printed = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < supervisor->process_count && supervisor->lines != NULL; i++) {
        supervisor->workers[i].lines = &supervisor->lines[(size_t)i * MARK_STREAMS];
    }
    return supervisor->lines != NULL && supervisor->printed >= 0 && capture_arm(supervisor, EPOLL_CTL_ADD);
}

bool capture_watch(const struct supervisor *supervisor, const struct worker *worker)
{
    for (size_t i = 0; i < MARK_STREAMS && worker->lines != NULL; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)worker->index * MARK_STREAMS + i};
        if (epoll_ctl(supervisor->printed, EPOLL_CTL_ADD, worker->printed[i], &event) != 0) {
            return false;
        }
    }
    return true;
}

void capture_turn(struct supervisor *supervisor)
{
    struct epoll_event events[CAPTURE_TURN];
    int count = epoll_wait(supervisor->printed, events, CAPTURE_TURN, 0);
    bool is_more = count == CAPTURE_TURN;
    for (int i = 0; i < count; i++) {
        struct worker *worker = &supervisor->workers[events[i].data.u64 / MARK_STREAMS];
        size_t stream = events[i].data.u64 % MARK_STREAMS;
        size_t got = worker->printed[stream] >= 0 ? capture_read(worker, stream) : 0;
        if (got > 0) { /* beside each other a text and its mark are written at once, but may be read in two parts */
            bool is_cut = got == LINES_READ && supervisor->options->concurrency > 1;
            capture_sort(supervisor, worker, stream, is_cut ? LINES_MARKED : LINES_WHOLE);
        }
        is_more = is_more || got == LINES_READ;
    }
    supervisor->printed_at = clock_after(clock_now(), is_more ? 0 : PAUSE);
}

/* Returns when to call it again. */
static uint64_t capture_tend_worker(const struct supervisor *supervisor, const struct worker *worker, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    for (size_t i = 0; i < MARK_STREAMS && worker->pid > 0; i++) {
        if (clock_after(worker->lines[i].since, PATIENCE) <= now) {
            capture_sort(supervisor, worker, i, LINES_SO_FAR);
        }
        next = clock_earlier(next, clock_after(worker->lines[i].since, PATIENCE));
    }
    return next;
}

uint64_t capture_tend(struct supervisor *supervisor, uint64_t now)
{
    if (supervisor->lines == NULL) {
        return CLOCK_NEVER;
    }
    if (supervisor->printed_at <= now) {
        (void)capture_arm(supervisor, EPOLL_CTL_MOD); /* cannot fail: it is there */
    }
    uint64_t next = supervisor->printed_at;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        next = clock_earlier(next, capture_tend_worker(supervisor, &supervisor->workers[i], now));
    }
    return next;
}

void capture_finish(struct supervisor *supervisor, struct worker *worker)
{
    for (size_t i = 0; i < MARK_STREAMS && worker->lines != NULL; i++) {
        for (int reads = 0; reads < CAPTURE_LAST && worker->printed[i] >= 0 && capture_read(worker, i) > 0; reads++) {
            capture_sort(supervisor, worker, i, LINES_WHOLE);
        }
        capture_sort(supervisor, worker, i, LINES_LAST);
        fd_close(&worker->printed[i]);
    }
}

void capture_close(struct supervisor *supervisor)
{
    fd_close(&supervisor->printed);
    free(supervisor->lines);
}
