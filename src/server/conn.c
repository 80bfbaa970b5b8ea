#include "server/conn.h"

#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "wire/reply.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long and how much a refused client may go on sending before its connection is closed under it. */
#define DRAIN_TIMEOUT  (2 * CLOCK_SECOND)
#define REJECT_TIMEOUT (1 * CLOCK_SECOND) /* for the rest of a message that cannot be JSON */
#define DRAIN_BYTES    ((size_t)256 << 20)

enum {
    KEEP_REPLY = 1 << 20, /* bytes of reply buffer kept between requests */
    DISCARD_ROUNDS = 16,  /* reads of what a client had sent, where there is no memory to drain it properly */
};

/* ---- slots and status ------------------------------------------------------------------------------------------- */

static void set_slot(struct conn_host *host, const struct conn *conn, enum slot_state state)
{
    if (host->page != NULL && conn->slot != NO_SLOT) {
        atomic_store_explicit(&host->page->slots[conn->slot].state, state, memory_order_release);
    }
}

static void park(struct conn_host *host, struct conn *conn)
{
    if (host->park == NULL || host->free_count == 0) {
        return;
    }
    uint32_t slot = host->free_slots[host->free_count - 1];
    int status = park_put(host->park, slot, conn->fd);
    if (status < 0) {
        log_warning("a connection could not be parked (%s): if the worker dies now, its client gets no reply",
                    strerror(-status));
        return;
    }
    host->free_count--;
    conn->slot = slot;
    set_slot(host, conn, SLOT_WAITING);
}

static void unpark(struct conn_host *host, struct conn *conn)
{
    if (conn->slot != NO_SLOT) {
        park_drop(host->park, conn->slot);
        set_slot(host, conn, SLOT_FREE);
        host->free_slots[host->free_count++] = conn->slot;
        conn->slot = NO_SLOT;
    }
}

/* ---- lists of deadlines ----------------------------------------------------------------------------------------- */

static void list_remove(struct conn_list *list, struct conn *conn)
{
    *(conn->previous != NULL ? &conn->previous->next : &list->first) = conn->next;
    *(conn->next != NULL ? &conn->next->previous : &list->last) = conn->previous;
    conn->previous = conn->next = NULL;
}

static void list_append(struct conn_list *list, struct conn *conn)
{
    conn->previous = list->last;
    conn->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = conn;
    list->last = conn;
}

static void enter(struct conn_host *host, struct conn *conn, enum conn_state state)
{
    uint64_t spans[CONN_STATES] = {host->read_timeout, REJECT_TIMEOUT, host->write_timeout, DRAIN_TIMEOUT};
    list_remove(&host->lists[conn->state], conn);
    conn->state = state;
    conn->deadline = clock_after(clock_now(), spans[state]);
    list_append(&host->lists[state], conn);
}

/* The function has closed or replaced descriptors of ours. What else it hit cannot be known, so this worker ends; its
 * supervisor answers the request and starts a new one. */
static void end_if_tampered(int error)
{
    if (error == EBADF || error == ENOTSOCK) {
        _exit(EXIT_TAMPERED);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void conn_close(struct conn_host *host, struct conn *conn)
{
    if (conn->events != 0) { /* not left to close(): a copy of the descriptor would keep it there */
        (void)epoll_ctl(host->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
    }
    unpark(host, conn);
    list_remove(&host->lists[conn->state], conn);
    if (!conn->handed_on) {
        (void)shutdown(conn->fd,
                       SHUT_RDWR); /* a child the function has forked may hold a copy: the client shall see the end */
    }
    fd_close(&conn->fd);
    conn->events = 0;
    buffer_done(&conn->in);
    buffer_done(&conn->out);
    conn->next = host->closed;
    host->closed = conn;
    host->count--;
}

/* Waits for `events`. A connection that cannot be watched is closed: it would never be heard of again. */
static void watch(struct conn_host *host, struct conn *conn, uint32_t events)
{
    if (conn->events == events) {
        return;
    }
    struct epoll_event event = {.events = events, .data.ptr = conn};
    int operation = conn->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(host->epoll, operation, conn->fd, &event) != 0) {
        log_error("server_error: cannot watch a connection: %s", strerror(errno));
        conn_close(host, conn);
        return;
    }
    conn->events = events;
}

static void drain(struct conn_host *host, struct conn *conn)
{
    for (;;) {
        ssize_t got = recv(conn->fd, host->scratch, SCRATCH_SIZE, MSG_DONTWAIT);
        if (got > 0) {
            conn->drained += (size_t)got;
            if (conn->drained > DRAIN_BYTES) {
                conn_close(host, conn);
                return;
            }
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            watch(host, conn, EPOLLIN);
            return;
        } else {
            conn_close(host, conn);
            return;
        }
    }
}

/* The reply is out, or there is nobody to take it. */
static void finish(struct conn_host *host, struct conn *conn)
{
    if (conn->refused && !conn->peer_done && shutdown(conn->fd, SHUT_WR) == 0) {
        unpark(host, conn); /* answered: not the supervisor's business any more */
        enter(host, conn, CONN_DRAINING);
        drain(host, conn);
        return;
    }
    conn_close(host, conn);
}

/* Writes on. Returns true when all is written. */
static bool write_some(struct conn_host *host, struct conn *conn)
{
    while (conn->sent < conn->out.size) {
        ssize_t sent =
            send(conn->fd, conn->out.data + conn->sent, conn->out.size - conn->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            conn->sent += (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            watch(host, conn, EPOLLOUT);
            return false;
        } else if (errno != EINTR) {
            end_if_tampered(errno);
            if (conn->raw.seen == 0) {
                log_debug("a client connected and went away without a message");
            } else {
                log_warning("connection_error: the client went away before it had read its reply: %s", strerror(errno));
            }
            conn_close(host, conn);
            return false;
        }
    }
    return true;
}

/* Sends conn->out; what cannot be written now follows as the client reads. */
static void reply(struct conn_host *host, struct conn *conn)
{
    set_slot(host, conn, SLOT_REPLYING);
    enter(host, conn, CONN_WRITING);
    if (write_some(host, conn)) {
        finish(host, conn);
    }
}

/* A reply of our own: the request never reached the function. */
static void refuse(struct conn_host *host, struct conn *conn, const struct error *err)
{
    if (err->category == ERR_EMPTY) { /* how a prober looks whether somebody is there */
        log_debug("empty_message: %s", err->text);
    } else {
        log_warning("%s: %s", error_code(err->category), err->text);
    }
    if (host->page != NULL) {
        atomic_fetch_add_explicit(&host->page->refused, 1, memory_order_relaxed);
    }
    buffer_done(&conn->in);
    conn->out.limit = REPLY_LIMIT;
    conn->refused = err->category != ERR_CONNECTION; /* who is late has had its time */
    if (reply_error(&conn->out, err->category, view_of(err->text), view_of("")) != BUFFER_OK) {
        struct view last = reply_out_of_memory();
        log_error("out_of_memory: no memory for a refusal");
        set_slot(host, conn, SLOT_REPLYING);
        (void)send(conn->fd, last.data, last.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        finish(host, conn);
        return;
    }
    reply(host, conn);
}

/* Writes into the status page that the function is called now, and describes the request to it. */
static struct request begin_request(struct conn_host *host, struct conn *conn, const unsigned char *message,
                                    size_t size)
{
    struct request request = {
        .message = message, .size = size, .protocol = PROTOCOL_RAW, .sequence = ++host->sequence, .conn = conn};
    struct status_page *page = host->page;
    if (page != NULL) {
        atomic_store_explicit(&page->requests, request.sequence, memory_order_relaxed);
        if (conn->slot != NO_SLOT) {
            request.slot = &page->slots[conn->slot];
            atomic_store_explicit(&request.slot->since, clock_now(), memory_order_relaxed);
            atomic_store_explicit(&request.slot->sequence, request.sequence, memory_order_relaxed);
        }
    }
    set_slot(host, conn, SLOT_RUNNING);
    return request;
}

/* The function is done. False if the supervisor has answered in the meantime: then nothing may be sent. */
static bool end_request(struct conn_host *host, const struct request *request, bool succeeded)
{
    if (host->page != NULL && !succeeded) {
        atomic_fetch_add_explicit(&host->page->failures, 1, memory_order_relaxed);
    }
    uint32_t expected = SLOT_RUNNING;
    if (request->slot == NULL ||
        atomic_compare_exchange_strong_explicit(&request->slot->state, &expected, SLOT_REPLYING, memory_order_acq_rel,
                                                memory_order_acquire)) {
        return true;
    }
    /* any other value is not the supervisor's: the function wrote into the page, and still wants its reply */
    return expected != SLOT_ANSWERED;
}

/* The request is complete. */
static void answer(struct conn_host *host, struct conn *conn, const unsigned char *message, size_t size)
{
    struct request request = begin_request(host, conn, message, size);
    buffer_reset(&host->reply, KEEP_REPLY);
    struct reply reply_to = {.body = host->reply};
    (void)host->service->answer(host->service->context, &request, &reply_to);
    host->reply = reply_to.body;
    bool succeeded = reply_to.succeeded;
    buffer_done(&conn->in);
    conn->refused = !succeeded; /* a client that still sends must get to read its error */
    if (!end_request(host, &request, succeeded)) {
        conn_close(host, conn);
        return;
    }
    struct view bytes = {(const char *)host->reply.data, host->reply.size};
    if (bytes.size == 0) {
        bytes = reply_out_of_memory();
    }
    ssize_t sent = send(conn->fd, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)bytes.size) { /* the common case: the buffer stays here */
        finish(host, conn);
        return;
    }
    if (sent < 0 && (errno == EBADF || errno == ENOTSOCK)) {
        set_slot(host, conn, SLOT_RUNNING); /* not one byte was sent: the supervisor answers */
        end_if_tampered(errno);
    }
    if (host->reply.size == 0) {
        conn_close(host, conn);
        return;
    }
    conn->out = host->reply;
    host->reply = buffer_make(REPLY_LIMIT);
    conn->sent = sent > 0 ? (size_t)sent : 0;
    reply(host, conn);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* The client has closed altogether; after a half-close it still reads. */
static bool is_gone(const struct conn *conn)
{
    struct pollfd look = {.fd = conn->fd};
    return poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
}

/* The client closed or half-closed. `message` is all it sent. */
static void end_of_input(struct conn_host *host, struct conn *conn, const unsigned char *message, size_t size)
{
    struct error err;
    conn->peer_done = true;
    if (is_gone(conn)) {
        if (size > 0) {
            log_warning("connection_error: the client went away after %zu bytes, before its message was complete",
                        size);
        } else {
            log_debug("a client connected and went away without a message");
        }
        conn_close(host, conn);
        return;
    }
    if (raw_end(&conn->raw, message, size, &err) == WIRE_DONE) {
        answer(host, conn, message, size);
    } else {
        refuse(host, conn, &err);
    }
}

static void receive_failed(struct conn_host *host, struct conn *conn)
{
    end_if_tampered(errno);
    if (conn->raw.seen > 0) {
        log_warning("connection_error: reading a request failed after %zu bytes: %s", conn->raw.seen, strerror(errno));
    } else {
        log_debug("a client went away without a message: %s", strerror(errno));
    }
    conn_close(host, conn);
}

static void no_memory(struct conn_host *host, struct conn *conn, size_t size)
{
    struct error err;
    error_set(&err, ERR_MEMORY, 0, "no memory for a request of more than %zu bytes", size);
    refuse(host, conn, &err);
}

/* Room for the next read into conn->in: doubles what has arrived, never more than the limit needs. */
static bool make_room(struct conn *conn)
{
    size_t more = conn->in.limit - conn->in.size;
    if (more > SCRATCH_SIZE) {
        more = SCRATCH_SIZE;
    }
    return buffer_reserve(&conn->in, more) == BUFFER_OK;
}

enum progress {
    PROGRESS_AGAIN, /* there may be more to read */
    PROGRESS_WAIT,  /* all that has arrived is read */
    PROGRESS_ENDED, /* answered, refused or closed: `conn` is not ours any more */
};

/* One read. Small requests are answered from the scratch buffer, without an allocation. */
static enum progress read_once(struct conn_host *host, struct conn *conn)
{
    bool first = conn->in.size == 0;
    if (!first && !make_room(conn)) {
        no_memory(host, conn, conn->in.size);
        return PROGRESS_ENDED;
    }
    unsigned char *target = first ? host->scratch : conn->in.data + conn->in.size;
    size_t room = first ? SCRATCH_SIZE : conn->in.capacity - conn->in.size;
    ssize_t got = recv(conn->fd, target, room, MSG_DONTWAIT);
    if (got < 0) {
        if (errno == EINTR) {
            return PROGRESS_AGAIN;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return PROGRESS_WAIT;
        }
        receive_failed(host, conn);
        return PROGRESS_ENDED;
    }
    const unsigned char *message = first ? host->scratch : conn->in.data;
    size_t size = (first ? 0 : conn->in.size) + (size_t)got;
    if (got == 0) {
        end_of_input(host, conn, message, size);
        return PROGRESS_ENDED;
    }
    bool drained = (size_t)got < room;
    struct error err;
    enum wire_step step = raw_feed(&conn->raw, message, size, &err);
    if (step == WIRE_BAD) {
        refuse(host, conn, &err);
        return PROGRESS_ENDED;
    }
    if (step == WIRE_DONE && drained) {
        answer(host, conn, message, size);
        return PROGRESS_ENDED;
    }
    if (first) {
        set_slot(host, conn, SLOT_READING);
        if (buffer_append(&conn->in, host->scratch, (size_t)got) != BUFFER_OK) {
            no_memory(host, conn, size);
            return PROGRESS_ENDED;
        }
    } else {
        conn->in.size = size;
    }
    return drained ? PROGRESS_WAIT : PROGRESS_AGAIN;
}

static void read_on(struct conn_host *host, struct conn *conn)
{
    enum progress progress;
    do {
        progress = read_once(host, conn);
    } while (progress == PROGRESS_AGAIN);
    if (progress == PROGRESS_ENDED) {
        return;
    }
    if (conn->raw.done) { /* complete before, and nothing more has arrived with it */
        answer(host, conn, conn->in.data, conn->in.size);
        return;
    }
    if (conn->raw.bad && conn->state == CONN_READING) {
        enter(host, conn, CONN_REJECTING);
    }
    watch(host, conn, EPOLLIN);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

/* No memory even for the connection's state: a reply that needs none, and what has arrived is taken from the socket so
 * that closing does not take the reply away. */
static void refuse_without_memory(struct conn_host *host, int fd)
{
    struct view last = reply_out_of_memory();
    log_error("out_of_memory: no memory for a connection");
    (void)send(fd, last.data, last.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; i < DISCARD_ROUNDS && recv(fd, host->scratch, SCRATCH_SIZE, MSG_DONTWAIT) > 0; i++) {
    }
    fd_close(&fd);
}

void conn_accept(struct conn_host *host, int fd)
{
    struct conn *conn = host->spare;
    if (conn != NULL) {
        host->spare = conn->next;
    } else {
        conn = malloc(sizeof *conn);
    }
    if (conn == NULL) {
        refuse_without_memory(host, fd);
        return;
    }
    *conn = (struct conn){.fd = fd,
                          .slot = NO_SLOT,
                          .state = CONN_READING,
                          .raw = raw_make(host->max_message),
                          .in = buffer_make(host->max_message + 1),
                          .out = buffer_make(REPLY_LIMIT),
                          .deadline = clock_after(clock_now(), host->read_timeout)};
    list_append(&host->lists[CONN_READING], conn);
    host->count++;
    park(host, conn);
    read_on(host, conn);
}

void conn_ready(struct conn_host *host, struct conn *conn, uint32_t events)
{
    (void)events; /* errors show in the call that meets them */
    if (conn->fd < 0) {
        return; /* closed earlier in this round */
    }
    switch (conn->state) {
    case CONN_READING:
    case CONN_REJECTING:
        read_on(host, conn);
        return;
    case CONN_WRITING:
        if (write_some(host, conn)) {
            finish(host, conn);
        }
        return;
    case CONN_DRAINING:
        drain(host, conn);
        return;
    case CONN_STATES:
        return;
    }
}

static void expire(struct conn_host *host, struct conn *conn)
{
    struct error err;
    switch (conn->state) {
    case CONN_READING:
        error_set(&err, ERR_CONNECTION, 0,
                  "the request was not complete within %llu ms (ASYA_READ_TIMEOUT); %zu bytes arrived",
                  (unsigned long long)(host->read_timeout / CLOCK_MS), conn->raw.seen);
        refuse(host, conn, &err);
        return;
    case CONN_REJECTING:
        if (raw_end(&conn->raw, conn->in.data, conn->in.size, &err) == WIRE_BAD) {
            refuse(host, conn, &err);
        }
        return;
    case CONN_WRITING:
        log_warning(
            "server_error: a reply was not read within %llu ms (ASYA_WRITE_TIMEOUT); %zu of %zu bytes were sent",
            (unsigned long long)(host->write_timeout / CLOCK_MS), conn->sent, conn->out.size);
        conn_close(host, conn);
        return;
    case CONN_DRAINING:
    case CONN_STATES:
        conn_close(host, conn);
        return;
    }
}

uint64_t conn_expire(struct conn_host *host, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    for (int state = 0; state < CONN_STATES; state++) {
        struct conn_list *list = &host->lists[state];
        while (list->first != NULL && list->first->deadline <= now) {
            expire(host, list->first); /* leaves this list: to another state with a later deadline, or closed */
        }
    }
    for (int state = 0; state < CONN_STATES; state++) {
        const struct conn *first = host->lists[state].first;
        if (first != NULL && first->deadline < next) {
            next = first->deadline;
        }
    }
    return next;
}

uint32_t conn_count_begun(const struct conn_host *host)
{
    uint32_t silent = 0;
    for (const struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = conn->next) {
        silent += conn->raw.seen == 0 && conn->slot != NO_SLOT;
    }
    return host->count - silent;
}

void conn_dismiss_silent(struct conn_host *host)
{
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the runtime is shutting down");
    struct conn *next;
    for (struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->raw.seen == 0) {
            refuse(host, conn, &err);
        }
    }
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
    for (struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = conn->next) {
        if (conn->raw.seen == 0) {
            conn->slot = NO_SLOT; /* stays parked: it is for the next worker */
            conn->handed_on = true;
        }
    }
    for (int state = 0; state < CONN_STATES; state++) {
        while (host->lists[state].first != NULL) {
            conn_close(host, host->lists[state].first);
        }
    }
    conn_round_end(host);
    while (host->spare != NULL) {
        struct conn *conn = host->spare;
        host->spare = conn->next;
        free(conn);
    }
    buffer_done(&host->reply);
    free(host->scratch);
    host->scratch = NULL;
}
