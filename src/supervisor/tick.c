/*
 * The tick: every 100 ms while requests run, the supervisor looks at the workers' scoreboards. Which workers made
 * progress? Does a connection wait, accepted and unread, behind a function that blocks its worker? If no worker makes
 * progress the fallback acceptor takes over (fallback.c). While nothing runs there are no ticks: the supervisor clears
 * the scoreboards' `watched` and sleeps, and the worker that begins the next request sends CONTROL_WATCH to wake it.
 * Once a second it looks whether clients may wait all the same: what the function has left behind (a health check, a
 * callback of its event loop, a signal handler) can block a worker in which no request runs. A worker that holds a
 * connection is told to look then; if it has not done so at the next tick, it is blocked, and not at rest.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/outlet.h"
#include "supervisor/deadline.h"
#include "supervisor/running.h"
#include "supervisor/state.h"

#include <poll.h>
#include <signal.h>

#define TICK          (100 * CLOCK_MS)
#define TICK_SHORTEST (10 * CLOCK_MS)

static uint64_t tick_length(const struct options *options)
{
    uint64_t quarter = options->handler_timeout / 4; /* so that a short time limit is not noticed late */
    if (quarter == 0 || quarter >= TICK) {
        return TICK;
    }
    return quarter > TICK_SHORTEST ? quarter : TICK_SHORTEST;
}

static bool is_serving(const struct worker *worker)
{
    return worker->state == WORKER_READY || worker->state == WORKER_STOPPING;
}

/* Grows with each turn of the worker's loop and each request it begins. */
static uint64_t progress_of(const struct worker *worker)
{
    return atomic_load_explicit(&worker->board->turns, memory_order_seq_cst) +
           atomic_load_explicit(&worker->board->requests, memory_order_relaxed);
}

/* It does not accept although its loop turns: it has as many clients as it can hold, or no descriptors left. */
static bool is_full(const struct worker *worker)
{
    return atomic_load_explicit(&worker->board->full, memory_order_relaxed) != FULL_NOT;
}

/* Has it made progress since the tick before? */
static void look_at_progress(struct worker *worker)
{
    uint64_t progress = progress_of(worker);
    worker->is_still = progress == worker->progress;
    worker->progress = progress;
    worker->was_full = is_full(worker);
}

void tick_look(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count && supervisor->all_busy; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_READY && !is_full(worker) &&
            (worker->was_full || progress_of(worker) != worker->progress)) {
            supervisor->all_busy = false;
        }
    }
}

/* Does it keep clients waiting although nothing runs in it? To be called before queue_nudge(), which tells it to look:
 * so a tick has passed since then. */
static void tick_note_blocked(struct worker *worker, uint64_t now)
{
    if (!queue_is_unheard(worker)) {
        worker->blocked_since = CLOCK_NEVER;
    } else if (worker->blocked_since == CLOCK_NEVER) {
        worker->blocked_since = now;
    }
}

/* There is something to read on a connection: bytes, or the client's end. */
static bool is_readable(int connection)
{
    struct pollfd look = {.fd = connection, .events = POLLIN | POLLRDHUP};
    return poll(&look, 1, 0) == 1;
}

/* Nothing of a request was read. `ret_kept`: one was answered on the connection before. A reply that is all out says
 * so, too, where the worker was stopped before it could. */
static bool is_unread(const struct worker *worker, uint32_t index, enum slot_state state, bool *ret_kept)
{
    if (state == SLOT_REPLYING && worker->stopped) {
        struct outlet_progress progress = outlet_progress(worker->board, index);
        *ret_kept = true;
        return progress.left == 0 && progress.then == THEN_UNREAD;
    }
    *ret_kept = atomic_load_explicit(&worker->board->slots[index].kept, memory_order_relaxed) != 0;
    return state == SLOT_WAITING;
}

/* Takes back connections that the worker has accepted and not read: all of them, or those with something to read. The
 * compared word also counts the requests of the slot, so the change succeeds only if the slot still has the connection
 * that was looked at, and no request has come on it since. */
static void tick_take_back(struct supervisor *supervisor, struct worker *worker, bool all)
{
    for (uint32_t i = 0; i < worker->fdstore.count && orphans_have_room(&supervisor->orphans); i++) {
        struct scoreboard_slot *slot = &worker->board->slots[i];
        uint32_t word = atomic_load_explicit(&slot->state, memory_order_acquire);
        bool kept;
        if (!is_unread(worker, i, (enum slot_state)SLOT_STATE(word), &kept)) {
            continue;
        }
        FD_SCOPED int connection = worker_peek(worker, i);
        if (connection >= 0 && (all || is_readable(connection)) &&
            atomic_compare_exchange_strong_explicit(&slot->state, &word, word - SLOT_STATE(word) + SLOT_TAKEN,
                                                    memory_order_acq_rel, memory_order_acquire)) {
            (void)orphans_add(&supervisor->orphans, fd_take(&connection), kept, clock_now());
        }
    }
}

void tick_take_unread(struct supervisor *supervisor, struct worker *worker)
{
    tick_take_back(supervisor, worker, true);
}

static bool is_retiring(const struct supervisor *supervisor, const struct worker *worker)
{
    return worker->state == WORKER_STOPPING && supervisor->phase == PHASE_SERVING;
}

/* A function that has overwritten the scoreboard may go on doing so, and nothing on it can be believed any more. The
 * process is killed, and its requests are answered by what the supervisor remembers of them. */
static void tick_look_at_board(struct worker *worker)
{
    if (!is_serving(worker) || worker->overwritten || scoreboard_is_plausible(worker->board)) {
        return;
    }
    worker->overwritten = true;
    log_event(LOG_LEVEL_ERROR, EVENT_WORKER_TAMPERED, WORKER_FACTS(worker),
              "worker %u, pid %d: the function wrote over the runtime's memory; it is ended", worker->index,
              (int)worker->pid);
    worker_kill(worker, SIGKILL);
}

/* So that little is lost if the function writes over it. */
static void tick_read_tally(struct worker *worker)
{
    if (is_serving(worker)) {
        (void)tally_take(&worker->board->tally, &worker->seen);
    }
}

void tick_check(struct supervisor *supervisor, uint64_t now)
{
    bool is_due = queue_is_waiting(supervisor);
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        tick_look_at_board(worker);
        tick_read_tally(worker);
        is_due = is_due || (is_serving(worker) && running_holds_any(worker->board));
    }
    if (is_due) {
        tick_wake(supervisor, now);
    }
}

static bool is_anything_running(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (is_serving(worker) && (worker->stopped || is_retiring(supervisor, worker) || queue_is_unheard(worker) ||
                                   deadline_any_running(worker))) {
            return true;
        }
    }
    return false;
}

static void set_watched(const struct supervisor *supervisor, uint32_t watched)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        atomic_store_explicit(&supervisor->workers[i].board->watched, watched, memory_order_relaxed);
    }
}

/* Stops watching if nothing runs; false if something does. A worker that finds `watched` cleared reports the next
 * request it begins. A request may begin between the check and the clearing, so the check is repeated after it. */
static bool tick_stop_watching(const struct supervisor *supervisor)
{
    if (supervisor->all_busy || is_anything_running(supervisor)) {
        return false;
    }
    set_watched(supervisor, 0);
    atomic_thread_fence(memory_order_seq_cst);
    if (is_anything_running(supervisor)) {
        set_watched(supervisor, SCOREBOARD_WATCHED);
        return false;
    }
    return true;
}

void tick_wake(struct supervisor *supervisor, uint64_t now)
{
    if (supervisor->tick_at == CLOCK_NEVER) {
        supervisor->tick_at = clock_after(now, tick_length(supervisor->options));
    }
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        tick_look_at_board(worker);
        if (worker->state == WORKER_READY && is_full(worker) && !worker->was_full) {
            supervisor->tick_at = now; /* a new client would have to wait for the fallback acceptor */
        }
    }
}

uint64_t tick(struct supervisor *supervisor, uint64_t now)
{
    if (supervisor->tick_at > now) {
        return supervisor->tick_at;
    }
    uint32_t ready = 0;
    uint32_t still = 0;
    uint32_t busy = 0;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (!is_serving(worker)) {
            continue;
        }
        tick_look_at_board(worker);
        tick_read_tally(worker);
        look_at_progress(worker);
        if (is_retiring(supervisor, worker)) {
            tick_take_unread(supervisor, worker);
        } else if (worker->is_still &&
                   supervisor->phase == PHASE_SERVING) { /* during a stop each worker answers what it has accepted */
            tick_take_back(supervisor, worker, false);
        }
        if (worker->state == WORKER_READY) {
            tick_note_blocked(worker, now);
            bool is_busy = worker->is_still && atomic_load_explicit(&worker->board->busy, memory_order_relaxed) != 0;
            ready++;
            still += worker->is_still || worker->was_full;
            busy += is_busy || worker->was_full || worker->blocked_since != CLOCK_NEVER;
        }
    }
    queue_nudge(supervisor);
    supervisor->all_busy = ready > 0 && still == ready && (busy == ready || listener_is_waiting(&supervisor->listener));
    supervisor->tick_at =
        tick_stop_watching(supervisor) ? CLOCK_NEVER : clock_after(now, tick_length(supervisor->options));
    return supervisor->tick_at;
}
