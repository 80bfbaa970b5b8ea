#include "server/conn.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/hangup.h"
#include "server/rights.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* How long a refused client may go on sending before its connection is closed. */
#define DRAIN_TIMEOUT  (2 * CLOCK_SECOND)
#define REJECT_TIMEOUT (1 * CLOCK_SECOND) /* for the rest of a message that cannot be JSON */

bool conn_host_is_closing(const struct conn_host *host)
{
    const struct scoreboard *board = host->config->board;
    return host->stage != STAGE_SERVING ||
           (board != NULL && atomic_load_explicit(&board->closing, memory_order_relaxed) != 0);
}

bool conn_host_is_unwell(const struct conn_host *host)
{
    const struct scoreboard *board = host->config->board;
    return board != NULL && (atomic_load_explicit(&board->health, memory_order_relaxed) == CHECKUP_FAILED ||
                             atomic_load_explicit(&board->unwell, memory_order_relaxed) != 0);
}

/* ---- lists of deadlines ----------------------------------------------------------------------------------------- */

static void conn_list_remove(struct conn_list *list, struct conn *conn)
{
    *(conn->previous != NULL ? &conn->previous->next : &list->first) = conn->next;
    *(conn->next != NULL ? &conn->next->previous : &list->last) = conn->previous;
    conn->previous = conn->next = NULL;
}

/* How many requests wait for the service, for the supervisor's metrics. */
static void conn_count_queued(const struct conn_host *host, const struct conn_list *list, uint32_t more)
{
    struct scoreboard *board = host->config->board;
    if (list == &host->lists[CONN_QUEUED] && board != NULL) {
        uint32_t queued = atomic_load_explicit(&board->queued, memory_order_relaxed);
        atomic_store_explicit(&board->queued, queued + more, memory_order_relaxed);
    }
}

/* Sorted by deadline. A new deadline is nearly always the latest, so the search starts at the end. */
static void conn_list_insert(struct conn_list *list, struct conn *conn)
{
    struct conn *before = list->last;
    while (before != NULL && before->deadline > conn->deadline) {
        before = before->previous;
    }
    conn->previous = before;
    conn->next = before != NULL ? before->next : list->first;
    *(before != NULL ? &before->next : &list->first) = conn;
    *(conn->next != NULL ? &conn->next->previous : &list->last) = conn;
}

static uint64_t conn_span(const struct conn *conn, enum conn_state state)
{
    const struct server_config *config = conn->host->config;
    switch (state) {
    case CONN_READING:
        return config->read_timeout;
    case CONN_IDLE:
        return config->keepalive_timeout;
    case CONN_REJECTING:
        return REJECT_TIMEOUT;
    case CONN_WRITING:
        return config->write_timeout;
    case CONN_FLUSHING:
        return config->write_timeout - conn->waited;
    case CONN_DRAINING:
        return DRAIN_TIMEOUT;
    case CONN_YIELDING:
        return 0;
    default: /* the supervisor watches the time of the function */
        return CLOCK_NEVER;
    }
}

void conn_enter(struct conn *conn, enum conn_state state)
{
    struct conn_host *host = conn->host;
    if (conn->state == CONN_FLUSHING) {
        uint64_t now = clock_now();
        conn->waited = host->config->write_timeout - (conn->deadline > now ? conn->deadline - now : 0);
    }
    uint64_t span = conn_span(conn, state);
    conn_list_remove(&host->lists[conn->state], conn);
    conn_count_queued(host, &host->lists[conn->state], -1U);
    conn->state = state;
    if (span != CLOCK_NEVER && state != CONN_READING && state != CONN_IDLE) {
        host->now = clock_now();
    }
    conn->deadline = clock_after(host->now, span);
    conn_list_insert(&host->lists[state], conn);
    conn_count_queued(host, &host->lists[state], 1);
    conn_count_buffers(conn);
}

void conn_await_request(struct conn *conn)
{
    bool is_idle = conn->served > 0 && conn->seen == 0 && conn->in.size == 0 && !conn->parting;
    conn_enter(conn, is_idle ? CONN_IDLE : CONN_READING);
}

uint64_t conn_next_deadline(const struct conn_host *host)
{
    uint64_t next = CLOCK_NEVER;
    for (int state = 0; state < CONN_STATES; state++) {
        const struct conn *first = host->lists[state].first;
        next = first != NULL ? clock_earlier(next, first->deadline) : next;
    }
    return next;
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

void conn_set_paused(struct conn *conn, bool paused)
{
    if (conn->paused != paused) {
        conn->paused = paused;
        conn->host->paused += paused ? 1U : -1U;
        conn->moved_at = clock_now();
    }
}

void conn_recount_buffers(struct conn *conn)
{
    struct conn_host *host = conn->host;
    size_t holds = conn->in.capacity + conn->out.capacity;
    host->held += holds - conn->counted;
    conn->counted = holds;
    host->given_back = true; /* maybe: while a connection is paused, the next turn checks it */
    if (conn->fd < 0 || conn->state != CONN_READING) {
        conn_set_paused(conn, false);
    }
}

/* ---- beginning and end ------------------------------------------------------------------------------------------ */

/* The function has closed what we held at the number `fd`. What is there now must not be taken for the former
 * connection by those who deal with the worker's end. */
static void conn_forget_number(const struct conn_host *host, int fd)
{
    struct scoreboard *board = host->config->board;
    uint32_t slot = board != NULL ? scoreboard_find(board, fd) : SLOTS_MAX;
    if (slot < SLOTS_MAX) {
        atomic_store_explicit(&board->slots[slot].fd, -1, memory_order_relaxed);
    }
}

void conn_check(const struct conn *conn)
{
    const struct tampered *tampered = &conn->host->tampered;
    if (tampered->listener.size > 0 && !table_is_ours(conn->fd, &tampered->listener)) {
        conn_forget_number(conn->host, conn->fd);
        tampered_end(&conn->host->tampered);
    }
}

struct conn *conn_open(struct conn_host *host, int fd, bool kept, int *ret_stored)
{
    struct conn *conn = host->spare;
    bool is_replaced = numbers_are_held(&host->numbers, fd);
    if (!host->tampered.has_seen_one) {
        tampered_see_first(&host->tampered, fd);
    }
    if (is_replaced) {
        conn_forget_number(host, fd);
    }
    if (conn != NULL) {
        host->spare = conn->next;
    } else if ((conn = malloc(sizeof *conn)) == NULL) {
        return NULL;
    }
    memset(conn, 0, offsetof(struct conn, head));
    conn->host = host;
    conn->fd = fd;
    conn->served = kept ? 1 : 0;
    conn->protocol = kept ? PROTOCOL_HTTP : host->config->protocol; /* only HTTP has a next request */
    conn->in = buffer_make(INTAKE_LIMIT(host->config->max_message));
    conn->out = buffer_make(REPLY_LIMIT);
    conn->tally.began = host->now;
    conn->state = kept ? CONN_IDLE : CONN_READING;
    conn->deadline = clock_after(host->now, conn_span(conn, conn->state));
    conn_list_insert(&host->lists[conn->state], conn);
    host->count++;
    numbers_note(&host->numbers, fd, true);
    rights_keep_in_line(fd);
    *ret_stored = slot_enter(&host->slots, fd, conn->protocol, kept, &conn->slot);
    if (is_replaced) { /* not before the new connection has a slot: that says whether its client expects a reply */
        tampered_end(&host->tampered);
    }
    return conn;
}

/* Returns false with errno if there is no memory to watch it. Any other error means that the function has closed or
 * replaced our descriptors. */
static bool conn_change_events(struct conn *conn, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    int operation = conn->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    if (epoll_ctl(conn->host->epoll, operation, conn->fd, &event) == 0) {
        conn->events = events;
        return true;
    }
    if (errno != ENOMEM && errno != ENOSPC) {
        tampered_end(&conn->host->tampered);
    }
    return false;
}

void conn_decide(struct conn *conn, uint32_t row)
{
    struct scoreboard *board = conn->host->config->board;
    if (board != NULL && conn->slot != NO_SLOT) {
        conn->tally.pending = row + 1;
        atomic_store_explicit(&board->slots[conn->slot].pending, (uint8_t)(row + 1), memory_order_relaxed);
    }
}

void conn_count(struct conn *conn)
{
    struct conn_host *host = conn->host;
    if (conn->tally.pending == 0) {
        return;
    }
    struct scoreboard *board = host->config->board;
    host->now = clock_now();
    tally_count(&board->tally, conn->protocol, &conn->tally, host->now, conn->slot, &board->slots[conn->slot].pending);
    conn->tally.pending = 0;
}

void conn_close(struct conn *conn)
{
    struct conn_host *host = conn->host;
    conn_count(conn);
    if (conn->events != 0) { /* close() would not remove it if another copy of the descriptor is open */
        (void)conn_change_events(conn, 0);
    }
    conn_list_remove(&host->lists[conn->state], conn);
    numbers_note(&host->numbers, conn->fd, false);
    conn_count_queued(host, &host->lists[conn->state], -1U);
    if (!conn->handed_on && slot_end(&host->slots, conn->slot)) {
        tampered_check(&host->tampered, -hangup(&conn->fd));
    } else {
        fd_close(&conn->fd);
    }
    slot_vacate(&host->slots, conn->slot);
    conn->slot = NO_SLOT;
    conn->events = 0;
    stock_keep(&host->stock, &host->stock.request, &conn->in);
    stock_keep(&host->stock, &host->stock.reply, &conn->out);
    conn_count_buffers(conn);
    conn->next = host->closed;
    host->closed = conn;
    host->count--;
}

void conn_round_end(struct conn_host *host)
{
    while (host->closed != NULL) {
        struct conn *conn = host->closed;
        host->closed = conn->next;
        conn->next = host->spare;
        host->spare = conn;
    }
}

void conn_host_done(struct conn_host *host)
{
    for (struct conn *conn = conn_first_waiting(host); conn != NULL; conn = conn_next_waiting(conn)) {
        if (conn_is_unread(conn)) {
            conn->slot = NO_SLOT; /* stays stored, for the next worker */
            conn->handed_on = true;
        }
    }
    for (int state = 0; state < CONN_STATES; state++) {
        while (host->lists[state].first != NULL) {
            conn_close(host->lists[state].first);
        }
    }
    conn_round_end(host);
    while (host->spare != NULL) {
        struct conn *conn = host->spare;
        host->spare = conn->next;
        free(conn);
    }
    buffer_done(&host->stock.request);
    buffer_done(&host->stock.reply);
    if (host->config->board == NULL) {
        free(host->scratch);
    }
    host->scratch = NULL;
}

/* ---- those that wait -------------------------------------------------------------------------------------------- */

struct conn *conn_first_waiting(const struct conn_host *host)
{
    return host->lists[CONN_IDLE].first != NULL ? host->lists[CONN_IDLE].first : host->lists[CONN_READING].first;
}

struct conn *conn_next_waiting(const struct conn *conn)
{
    return conn->next != NULL || conn->state == CONN_READING ? conn->next : conn->host->lists[CONN_READING].first;
}

/* ---- what it is ------------------------------------------------------------------------------------------------- */

bool conn_is_in_service(const struct conn *conn)
{
    return conn->state == CONN_RUNNING ||
           ((conn->state == CONN_STREAMING || conn->state == CONN_FLUSHING) && !conn->stream_is_over);
}

void conn_watch(struct conn *conn, uint32_t events)
{
    if (conn->events == events || conn_change_events(conn, events)) {
        return;
    }
    int error = errno;
    if (log_pass(LOG_LEVEL_ERROR, "watching")) {
        log_error(EVENT_CONNECTION_TROUBLE, "server_error: cannot watch a connection: %s", strerror(error));
    }
    if (conn_is_in_service(conn)) {
        conn->gone = true;
    } else {
        conn_close(conn);
    }
}

bool conn_is_hung_up(const struct conn *conn)
{
    struct pollfd look = {.fd = conn->fd};
    bool found = poll(&look, 1, 0) == 1;
    if (found && (look.revents & POLLNVAL) != 0) {
        tampered_end(&conn->host->tampered);
    }
    return found && (look.revents & POLLHUP) != 0;
}

uint32_t conn_count_begun(const struct conn_host *host)
{
    uint32_t silent = 0;
    for (const struct conn *conn = conn_first_waiting(host); conn != NULL; conn = conn_next_waiting(conn)) {
        silent += conn_is_silent(conn) && slot_is_stored(&host->slots, conn->slot);
    }
    return host->count - silent;
}
