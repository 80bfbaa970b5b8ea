/*
 * Where all workers are, for whoever asks (POST /stacks, SIGUSR2), by what a time limit uses: faulthandler writes the
 * stacks of all threads on STACK_SIGNAL, also while C code holds the interpreter's lock; the interpreter adds its tasks
 * on NEWS_SIGNAL, if it gets to its signals. Nothing is ended or interrupted.
 *
 * A worker has SNAPSHOT_TIME. Most are done at once, and say so on the scoreboard. What they write is read every
 * SNAPSHOT_INTERVAL, since the pipe holds less than some have to say. All who ask in the meantime get the same text.
 */
#include "base/clock.h"
#include "base/log.h"
#include "server/cancel.h"
#include "supervisor/deadline.h"
#include "supervisor/state.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SNAPSHOT_TIME     (1 * CLOCK_SECOND)
#define SNAPSHOT_INTERVAL (10 * CLOCK_MS)

enum {
    SNAPSHOT_TEXT_MAX = 256 << 10, /* bytes of one worker's text */
    SNAPSHOT_PIECE = 4096,
};

/* Reads what the worker has written since the last time; the marks are for time limits only. Not while a time limit has
 * had the stacks written for its line in the log: the same pipe holds both. */
static void snapshot_read(struct worker *worker)
{
    char piece[SNAPSHOT_PIECE];
    ssize_t got;
    while (worker->snapshot.size < SNAPSHOT_TEXT_MAX && (got = read(worker->stack, piece, sizeof piece)) > 0) {
        if (buffer_append(&worker->snapshot, piece, (size_t)got) != BUFFER_OK) {
            return;
        }
    }
}

/* A worker that is writing the stacks for a time limit's line in the log is asked a moment later. */
static void snapshot_ask(struct worker *worker, uint32_t number)
{
    if (worker->pid <= 0 || deadline_is_dumping(worker)) {
        return;
    }
    buffer_done(&worker->snapshot);
    worker->snapshot = buffer_make(SNAPSHOT_TEXT_MAX);
    worker->snapshot_number = number;
    atomic_store_explicit(&worker->board->stacks_wanted, number, memory_order_release);
    (void)kill(worker->pid, STACK_SIGNAL);
    (void)kill(worker->pid, NEWS_SIGNAL);
}

static bool snapshot_is_done(const struct worker *worker, uint32_t number)
{
    return worker->pid <= 0 || (worker->snapshot_number == number &&
                                atomic_load_explicit(&worker->board->stacks_written, memory_order_acquire) == number);
}

/* ---- the text --------------------------------------------------------------------------------------------------- */

static const char *snapshot_remark(const struct worker *worker, uint32_t number)
{
    if (worker->snapshot_number != number || worker->snapshot.size == 0) {
        return "no stack could be had: the process has not begun to load the function, or takes no signals";
    }
    if (!snapshot_is_done(worker, number)) {
        return "(its interpreter does not get to its signals: it is in C code, and its tasks are not known)";
    }
    return "";
}

/* False without memory. */
static bool snapshot_append(const struct worker *worker, uint32_t number, struct buffer *out)
{
    char head[64];
    int size = snprintf(head, sizeof head, "worker %u, pid %d:\n", worker->index, (int)worker->pid);
    const char *remark = snapshot_remark(worker, number);
    return buffer_append(out, head, (size_t)size) == BUFFER_OK &&
           buffer_append(out, worker->snapshot.data, worker->snapshot.size) == BUFFER_OK &&
           buffer_append(out, remark, strlen(remark)) == BUFFER_OK &&
           buffer_append(out, "\n\n", remark[0] != '\0' ? 2 : 1) == BUFFER_OK;
}

static void snapshot_log(struct worker *worker, uint32_t number)
{
    bool is_text = worker->snapshot.size > 0 && buffer_append(&worker->snapshot, "", 1) == BUFFER_OK;
    const struct log_facts facts = {.worker = worker->index,
                                    .pid = (int)worker->pid,
                                    .stack = is_text ? (const char *)worker->snapshot.data : NULL};
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_STACKS, &facts, "worker %u, pid %d: %s", worker->index, (int)worker->pid,
              is_text ? "stacks" : snapshot_remark(worker, number));
}

/* Answers all who have asked. */
static void snapshot_finish(struct supervisor *supervisor)
{
    struct snapshot *snapshot = &supervisor->snapshot;
    for (uint32_t asker = 0; asker < snapshot->askers; asker++) {
        struct desk_reply reply = {
            .status = 200, .type = "text/plain; charset=utf-8", .body = buffer_make(DESK_REPLY_LIMIT)};
        for (uint32_t i = 0; i < supervisor->worker_count; i++) {
            const struct worker *worker = &supervisor->workers[i];
            if (worker->pid > 0 && reply.status == 200 && !snapshot_append(worker, snapshot->number, &reply.body)) {
                buffer_done(&reply.body);
                reply.status = 503;
            }
        }
        desk_reply(&supervisor->desk, snapshot->tickets[asker], &reply);
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (snapshot->is_for_log && worker->pid > 0) {
            snapshot_log(worker, snapshot->number);
        }
        buffer_done(&worker->snapshot);
    }
    snapshot->deadline = CLOCK_NEVER;
    snapshot->askers = 0;
    snapshot->is_for_log = false;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

void snapshot_begin(struct supervisor *supervisor, const struct desk_ticket *ticket)
{
    struct snapshot *snapshot = &supervisor->snapshot;
    if (ticket == NULL) {
        snapshot->is_for_log = true;
    } else if (snapshot->askers < DESK_CLIENTS) {
        snapshot->tickets[snapshot->askers++] = *ticket;
    }
    if (snapshot->deadline == CLOCK_NEVER) {
        snapshot->deadline = clock_after(clock_now(), SNAPSHOT_TIME);
        snapshot->number++;
    }
}

uint64_t snapshot_tend(struct supervisor *supervisor, uint64_t now)
{
    struct snapshot *snapshot = &supervisor->snapshot;
    if (snapshot->deadline == CLOCK_NEVER) {
        return CLOCK_NEVER;
    }
    bool is_done = true;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->pid > 0 && worker->snapshot_number != snapshot->number) {
            snapshot_ask(worker, snapshot->number);
        }
        bool is_written =
            snapshot_is_done(worker, snapshot->number); /* before reading: it wrote all before it said so */
        if (worker->pid > 0 && worker->snapshot_number == snapshot->number && !deadline_is_dumping(worker)) {
            snapshot_read(worker);
        }
        is_done = is_done && is_written;
    }
    if (is_done || snapshot->deadline <= now) {
        snapshot_finish(supervisor);
        return CLOCK_NEVER;
    }
    return clock_earlier(snapshot->deadline, clock_after(now, SNAPSHOT_INTERVAL));
}
