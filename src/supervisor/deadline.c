#include "supervisor/deadline.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/cancel.h"
#include "server/hangup.h"
#include "supervisor/ledger.h"
#include "supervisor/recover.h"
#include "supervisor/running.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define LOG_AFTER       (100 * CLOCK_MS)
#define ANSWER_AFTER    (150 * CLOCK_MS)
#define KILL_AFTER      (1 * CLOCK_SECOND) /* SIGTERM: later by ASYA_HANDLER_GRACE than the limit, and then SIGKILL */
#define SHARED_INTERVAL (100 * CLOCK_MS)   /* between checks whether other requests of the worker still run */
#define PUSH_INTERVAL   (2 * CLOCK_MS)     /* before trying again to answer for a worker that is sending right now */
#define GONE_INTERVAL   (100 * CLOCK_MS)   /* between checks whether a running request's client is still there */
#define STACKS_SHARED   (1 * CLOCK_SECOND) /* limits that end this close together share the stacks that were written */

/* What is done about a request over its time limit, in this order; run.step is the next one to do. From STEP_TERMINATE
 * on it is the process that is dealt with: its request has been answered. */
enum deadline_step { STEP_CANCEL, STEP_LOG, STEP_ANSWER, STEP_TERMINATE, STEP_KILL, STEPS };

/* Has the exception raised in the function, if it still runs this request: the worker compares the sequence number. */
static void cancel(const struct worker *worker, struct scoreboard_slot *slot, uint64_t sequence,
                   enum cancel_reason reason)
{
    atomic_store_explicit(&slot->reason, (uint16_t)reason, memory_order_relaxed);
    atomic_store_explicit(&slot->cancel, sequence, memory_order_release);
    (void)kill(worker->pid, CANCEL_SIGNAL);
    ledger_note_cancel(reason);
}

static struct scoreboard_limit limit_of(const struct run *run, const struct options *options)
{
    return scoreboard_limit(run->since, options->handler_timeout, run->deadline);
}

/* The slot has a newer request than the one we remember. Sequence numbers only grow, and none is larger than the count
 * of requests begun: any other number means that the slot was overwritten, and is ignored. */
static bool is_new(const struct worker *worker, uint32_t index)
{
    const struct run *run = &worker->runs[index];
    uint64_t sequence = atomic_load_explicit(&worker->board->slots[index].sequence, memory_order_relaxed);
    uint64_t begun = atomic_load_explicit(&worker->board->requests, memory_order_relaxed);
    return !run->is_running || (sequence > run->sequence && sequence <= begun);
}

/* Answers in place of the worker, or ends its stream. Worker and supervisor both try to change the slot's state with a
 * compare-and-swap, and only the one that succeeds may write. We take the duplicate of the connection before we change
 * the state. The compared word also counts the requests of the slot. So after a successful change the duplicate is
 * the connection of this request, which is still the one that we found to be late, and the worker leaves it open for
 * our reply. Returns false if the worker is sending
 * at this moment: that lasts one system call, unless the process was stopped in it. */
static bool take_over(const struct worker *worker, uint32_t index, const struct options *options)
{
    struct scoreboard_slot *slot = &worker->board->slots[index];
    const struct run *run = &worker->runs[index];
    uint32_t word = atomic_load_explicit(&slot->state, memory_order_acquire);
    enum slot_state state = SLOT_STATE(word);
    if (slot_is_state(state) && is_new(worker, index)) {
        return true; /* ours has ended by itself */
    }
    if (state != SLOT_RUNNING && state != SLOT_STREAMING && slot_is_state(state)) {
        return state != SLOT_PUSHING;
    }
    FD_SCOPED int connection = worker_peek(worker, index);
    if (connection < 0 || /* not stored: the worker answers it, or we do once the worker is dead and its fdholder gives
                             it to us */
        !atomic_compare_exchange_strong_explicit(&slot->state, &word, word - (uint32_t)state + SLOT_ANSWERED,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        return slot_state(slot) != SLOT_PUSHING;
    }
    struct error err = {0};
    cancel_late_error(&err, options->handler_timeout, limit_of(run, options).is_callers);
    if (state == SLOT_STREAMING) {
        (void)recover_end_stream(fd_take(&connection), worker->board, index, &err);
    } else if (run->streams && state != SLOT_RUNNING) {
        ledger_note_answer(PROTOCOL_HTTP, &err, run->since);
        (void)hangup(&connection); /* the function overwrote how much of the stream was sent */
    } else {
        uint64_t began = atomic_load_explicit(&slot->began, memory_order_relaxed);
        recover_answer(fd_take(&connection), run->protocol, &err, began);
    }
    return true;
}

/* What the line about a time limit says of the stacks. The worker writes those of all its threads and tasks at once, so
 * of several limits that end together only the first one's record has them. */
static const char *deadline_describe_stacks(struct worker *worker, const char *stack, uint64_t now)
{
    if (stack[0] != '\0') {
        worker->stacks_at = now;
        return "";
    }
    return worker->stacks_at != 0 && now - worker->stacks_at < STACKS_SHARED
               ? "; its stacks are in the record before"
               : "; no stack could be had: the process does not take signals";
}

static void log_overrun(struct worker *worker, uint32_t index, const struct options *options)
{
    char stack[WORKER_STACK_SIZE];
    worker_read_stack(worker, stack, sizeof stack);
    uint64_t now = clock_now();
    struct error err = {0};
    cancel_late_error(&err, options->handler_timeout, limit_of(&worker->runs[index], options).is_callers);
    if (worker->incidents != NULL) {
        char file[RECORD_NAME_SIZE];
        record_name(&worker->runs[index].record, (int)worker->pid, file);
        incidents_add_error(worker->incidents, &err, worker->late[index], file, (int32_t)worker->index, stack);
    }
    const struct log_facts facts = {.request.id = view_of(worker->late[index]), /* the name as it was then: the slot may
                                                                                   serve another request by now */
                                    .worker = worker->index,
                                    .pid = (int)worker->pid,
                                    .category = error_code(err.category),
                                    .error_type = err.type,
                                    .duration = now - worker->runs[index].since,
                                    .stack = stack};
    log_event(LOG_LEVEL_ERROR, EVENT_REQUEST_TIMEOUT, &facts, "worker %u, pid %d: %s; it is asked to stop%s",
              worker->index, (int)worker->pid, err.text, deadline_describe_stacks(worker, stack, now));
}

/* The function runs and nobody has answered its client yet. */
static bool is_open(enum slot_state state)
{
    return state == SLOT_RUNNING || state == SLOT_STREAMING || state == SLOT_PUSHING;
}

/* The function runs. If its slot was overwritten, this goes by what was seen before. */
static bool is_running(const struct worker *worker, uint32_t index)
{
    enum slot_state state = slot_state(&worker->board->slots[index]);
    return is_open(state) || state == SLOT_ANSWERED || (worker->runs[index].is_running && !slot_is_state(state));
}

/* Another request of the same worker runs within its own limit. It must not be killed because of this one. */
static bool is_shared(const struct worker *worker, uint32_t index, const struct options *options, uint64_t now)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        const struct scoreboard_slot *slot = &worker->board->slots[i];
        enum slot_state state = slot_state(slot);
        uint64_t since = atomic_load_explicit(&slot->since, memory_order_relaxed);
        uint64_t deadline = atomic_load_explicit(&slot->deadline, memory_order_relaxed);
        if (i != index && is_open(state) && since <= now &&
            now < scoreboard_limit(since, options->handler_timeout, deadline).at) {
            return true;
        }
    }
    return false;
}

/* Does the steps that are due. Returns when the next one is. */
static uint64_t deadline_advance(struct worker *worker, uint32_t index, const struct options *options,
                                 uint64_t deadline, uint64_t now)
{
    struct run *run = &worker->runs[index];
    uint64_t grace = options->handler_grace > ANSWER_AFTER ? options->handler_grace : ANSWER_AFTER;
    const uint64_t due[STEPS] = {0, LOG_AFTER, ANSWER_AFTER, grace, clock_after(grace, KILL_AFTER)};
    while (run->step < STEPS && clock_after(deadline, due[run->step]) <= now) {
        if (run->step >= STEP_TERMINATE && is_shared(worker, index, options, now)) {
            worker->wedged = true; /* replaced, not killed: the other requests may finish */
            return clock_after(now, SHARED_INTERVAL);
        }
        switch (run->step++) {
        case STEP_CANCEL:
            running_name(worker->board, index, worker->late[index]);
            run->record = record_of(&worker->board->slots[index]);
            (void)kill(worker->pid, STACK_SIGNAL);
            cancel(worker, &worker->board->slots[index], run->sequence, CANCEL_TIMEOUT);
            return clock_after(now, LOG_AFTER); /* even if we are late: writing the stacks takes a moment */
        case STEP_LOG:
            log_overrun(worker, index, options);
            break;
        case STEP_ANSWER:
            if (!take_over(worker, index, options) && clock_after(deadline, grace) > now) {
                run->step--;
                return clock_after(now, PUSH_INTERVAL);
            }
            break;
        case STEP_TERMINATE:
            worker->overran = true;
            worker_kill(worker, SIGTERM);
            break;
        default:
            worker_kill(worker, SIGKILL);
            break;
        }
    }
    return run->step < STEPS ? clock_after(deadline, due[run->step]) : CLOCK_NEVER;
}

/* Whether the client has closed its socket. A client that has only shut down its sending side (half-close) still waits
 * for the reply. */
static bool is_client_gone(const struct worker *worker, uint32_t index)
{
    FD_SCOPED int connection = worker_peek(worker, index);
    struct pollfd look = {.fd = connection};
    return connection >= 0 && poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
}

/* Begins to remember a request. A start time in the future, or before the process was started, is replaced by now. */
static void note_run(struct worker *worker, uint32_t index, uint64_t now)
{
    const struct scoreboard_slot *slot = &worker->board->slots[index];
    uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    uint64_t begun = atomic_load_explicit(&worker->board->requests, memory_order_relaxed);
    uint64_t since = atomic_load_explicit(&slot->since, memory_order_relaxed);
    worker->runs[index] = (struct run){.is_running = true,
                                       .sequence = sequence <= begun ? sequence : 0,
                                       .since = since >= worker->started_at && since <= now ? since : now};
}

/* Notes the protocol, whether it streams, and the caller's deadline, while the slot is still intact. */
static void note_form(struct run *run, const struct scoreboard_slot *slot, enum slot_state state)
{
    uint16_t protocol = atomic_load_explicit(&slot->protocol, memory_order_relaxed);
    run->streams = state == SLOT_STREAMING || state == SLOT_PUSHING;
    run->deadline = atomic_load_explicit(&slot->deadline, memory_order_relaxed);
    run->protocol = protocol <= PROTOCOL_HTTP ? (enum protocol)protocol : PROTOCOL_AUTO;
}

/* Tells the function if the client of a running request has gone. Returns when to look again. */
static uint64_t deadline_tend_client(struct worker *worker, uint32_t index, uint64_t now)
{
    struct run *run = &worker->runs[index];
    if (run->gone) {
        return CLOCK_NEVER;
    }
    if (now < run->since || now - run->since < GONE_INTERVAL || !is_client_gone(worker, index)) {
        return clock_after(now, GONE_INTERVAL);
    }
    run->gone = true;
    log_event(LOG_LEVEL_DEBUG, EVENT_REQUEST_CANCELLED, WORKER_FACTS(worker),
              "worker %u: the client went away, the function is asked to stop", worker->index);
    cancel(worker, &worker->board->slots[index], run->sequence, CANCEL_CLIENT_GONE);
    return CLOCK_NEVER;
}

static uint64_t deadline_tend_request(struct worker *worker, uint32_t index, const struct options *options,
                                      uint64_t now)
{
    struct scoreboard_slot *slot = &worker->board->slots[index];
    struct run *run = &worker->runs[index];
    enum slot_state state = slot_state(slot);
    bool running = is_running(worker, index);
    if (run->step == STEP_LOG && (!running || is_new(worker, index))) {
        log_overrun(worker, index, options); /* the function stopped before the line was logged */
    }
    if (!running) {
        *run = (struct run){0};
    } else if (slot_is_state(state) && is_new(worker, index)) {
        note_run(worker, index, now);
    }
    if (slot_is_state(state)) {
        note_form(run, slot, state);
    }
    if (!running) {
        return CLOCK_NEVER;
    }
    uint64_t next = CLOCK_NEVER;
    uint64_t limit = limit_of(run, options).at;
    if (limit != CLOCK_NEVER) {
        next = deadline_advance(worker, index, options, limit, now);
    }
    if (options->cancel_on_disconnect && state != SLOT_ANSWERED) {
        next = clock_earlier(next, deadline_tend_client(worker, index, now));
    }
    return next;
}

uint64_t deadline_tend(struct worker *worker, const struct options *options, uint64_t now)
{
    if (worker->state != WORKER_READY && worker->state != WORKER_STOPPING) {
        return CLOCK_NEVER;
    }
    uint64_t next = CLOCK_NEVER;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        next = clock_earlier(next, deadline_tend_request(worker, i, options, now));
    }
    return next;
}

void deadline_list_overdue(const struct worker *worker, uint64_t ret_overdue[SLOTS_MAX / 64])
{
    memset(ret_overdue, 0, SLOTS_MAX / 64 * sizeof ret_overdue[0]);
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (worker->runs[i].step > STEP_CANCEL && is_running(worker, i) && !is_new(worker, i)) {
            ret_overdue[i / 64] |= UINT64_C(1) << i % 64;
        }
    }
}

bool deadline_is_dumping(const struct worker *worker)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (worker->runs[i].step == STEP_LOG) {
            return true;
        }
    }
    return false;
}

bool deadline_is_stuck(const struct worker *worker)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (worker->runs[i].step > STEP_ANSWER && is_running(worker, i)) {
            return true;
        }
    }
    return false;
}

bool deadline_any_running(const struct worker *worker)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (is_running(worker, i)) {
            return true;
        }
    }
    return false;
}

uint32_t deadline_ask_to_stop(const struct worker *worker)
{
    uint32_t running = 0;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        struct scoreboard_slot *slot = &worker->board->slots[i];
        enum slot_state state = slot_state(slot);
        if (!is_open(state) && state != SLOT_ANSWERED) {
            continue;
        }
        running++;
        uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
        if (atomic_load_explicit(&slot->cancel, memory_order_relaxed) != sequence) {
            cancel(worker, slot, sequence, CANCEL_STOPPING);
        }
    }
    return running;
}
