#include "supervisor/recover.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/brief.h"
#include "server/control.h"
#include "server/fdstore.h"
#include "server/hangup.h"
#include "server/outlet.h"
#include "server/peek.h"
#include "server/rights.h"
#include "supervisor/ledger.h"
#include "wire/detect.h"
#include "wire/http1_response.h"
#include "wire/reply.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static void send_last(int connection, const struct buffer *out, enum buffer_status status)
{
    if (status == BUFFER_OK && brief_send(connection, out->data, out->size)) {
        ledger_note_sent(out->size);
    } else {
        log_client(EVENT_REPLY_UNSENT, "server_error", "a reply could not be sent: %s", strerror(errno));
    }
    (void)hangup(&connection);
}

/* As recover_answer, in the protocol that is known, with an HTTP status other than the category's (0: the category's),
 * and without counting. */
static void recover_send_error(int connection, enum protocol protocol, unsigned status, const struct error *err)
{
    unsigned char bytes[REPLY_FAILURE_SIZE];
    struct buffer out = buffer_fixed(bytes, sizeof bytes);
    enum buffer_status written = reply_failure_http(&out, protocol, status, err);
    send_last(connection, &out, written);
}

static void recover_answer_http(int connection, enum protocol protocol, unsigned status, const struct error *err,
                                uint64_t began)
{
    protocol = peek_protocol(connection, protocol);
    ledger_note_answer(protocol, err, began);
    recover_send_error(connection, protocol, status, err);
}

void recover_answer(int connection, enum protocol protocol, const struct error *err, uint64_t began)
{
    recover_answer_http(connection, protocol, 0, err, began);
}

/* ---- what is counted (ledger.h) --------------------------------------------------------------------------------- */

/* When the first byte of the request in this slot was there. */
static uint64_t recover_began(const struct scoreboard *board, uint32_t slot)
{
    return atomic_load_explicit(&board->slots[slot].began, memory_order_relaxed);
}

/* 1 + the row in which the worker would have counted the request; 0: it has not decided that, or has counted it, or
 * there is nothing to count. */
static uint32_t recover_pending(const struct scoreboard *board, uint32_t slot)
{
    return atomic_load_explicit(&board->slots[slot].pending, memory_order_relaxed);
}

/* The worker had decided the outcome, and its client has seen it. */
static void recover_count_noted(const struct scoreboard *board, uint32_t slot, enum protocol protocol)
{
    uint32_t pending = recover_pending(board, slot);
    if (pending != 0) {
        ledger_note_row(&board->tally, pending - 1, protocol, recover_began(board, slot));
    }
}

/* In this state the outcome is noted before anything is sent: what is not noted was counted, or is no request. */
static bool recover_is_counted(const struct scoreboard *board, uint32_t slot)
{
    return slot_state(&board->slots[slot]) == SLOT_REPLYING && recover_pending(board, slot) == 0;
}

/* ---- replies of dead workers ------------------------------------------------------------------------------------ */

/* The client's protocol. The worker may have died after it read the first byte and before it noted the protocol. */
static enum protocol protocol_of(const struct scoreboard *board, uint32_t slot)
{
    enum protocol protocol = (enum protocol)atomic_load_explicit(&board->slots[slot].protocol, memory_order_relaxed);
    uint8_t first = scoreboard_first(board, slot);
    return first != FIRST_NONE ? detect(protocol, first) : protocol;
}

bool recover_end_stream(int connection, const struct scoreboard *board, uint32_t slot, const struct error *err)
{
    struct outlet_progress progress = outlet_progress(board, slot);
    if (progress.left == LEFT_ALL) {
        recover_answer(connection, PROTOCOL_HTTP, err, recover_began(board, slot));
        return true;
    }
    struct reply_stream_end lacks = {
        .error = progress.then == THEN_EVENT,
        .done = progress.then == THEN_EVENT || progress.then == THEN_DONE,
        .chunked = atomic_load_explicit(&board->slots[slot].unchunked, memory_order_relaxed) == 0};
    bool is_cut = progress.left > 0 || (!lacks.done && progress.then != THEN_END);
    if (!lacks.error && !is_cut) {
        recover_count_noted(board, slot, PROTOCOL_HTTP);
    } else if (!recover_is_counted(board, slot)) {
        ledger_note_answer(protocol_of(board, slot), err, recover_began(board, slot));
    }
    if (is_cut) {
        (void)hangup(&connection);
        return false;
    }
    unsigned char bytes[REPLY_FAILURE_SIZE];
    struct buffer out = buffer_fixed(bytes, sizeof bytes);
    enum buffer_status status = reply_stream_end(&out, lacks, err);
    send_last(connection, &out, status);
    return true;
}

bool orphans_have_room(const struct orphans *orphans)
{
    bool is_low = orphans->numbers_end > 0; /* the kernel gives the lowest free number, so all below are taken */
    for (uint32_t i = 0; i < orphans->count && is_low; i++) {
        if (orphans->fds[i] >= orphans->numbers_end) {
            return false;
        }
    }
    return orphans->count < ORPHANS_MAX;
}

bool orphans_add(struct orphans *orphans, int connection, bool kept, uint64_t now)
{
    if (!orphans_have_room(orphans)) {
        return false;
    }
    orphans->fds[orphans->count] = connection;
    orphans->kept[orphans->count] = kept;
    orphans->wants[orphans->count] = WANTS_UNSEEN;
    orphans->since[orphans->count++] = now;
    return true;
}

void orphans_remove(struct orphans *orphans, uint32_t index)
{
    uint32_t behind = orphans->count - index - 1;
    memmove(orphans->fds + index, orphans->fds + index + 1, behind * sizeof orphans->fds[0]);
    memmove(orphans->kept + index, orphans->kept + index + 1, behind * sizeof orphans->kept[0]);
    memmove(orphans->since + index, orphans->since + index + 1, behind * sizeof orphans->since[0]);
    memmove(orphans->wants + index, orphans->wants + index + 1, behind * sizeof orphans->wants[0]);
    orphans->count--;
}

/* A connection that was not read from. A kept-alive one without a next request expects no reply. */
static void answer_unread(int connection, bool kept, enum protocol protocol, unsigned status, const struct error *err,
                          uint64_t since)
{
    if (!kept || !hangup_if_idle(&connection)) {
        recover_answer_http(connection, kept ? PROTOCOL_HTTP : protocol, status, err, since);
    }
}

static void hand_on_or_refuse(struct recovery *recovery, int connection, bool kept)
{
    if (orphans_add(recovery->orphans, connection, kept, clock_now())) {
        recovery->done.handed_on++;
        return;
    }
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the worker died and too many requests wait for the next one; send it again");
    answer_unread(connection, kept, recovery->orphans->protocol, 0, &err, 0);
    recovery->done.partial++;
}

static void answer_partial(int connection, enum protocol protocol, struct recovered *recovered)
{
    struct error err;
    error_set(&err, ERR_SERVER, 0,
              "the worker died while this request was still arriving; it was not run, send it again");
    recover_answer(connection, protocol, &err, 0);
    recovered->partial++;
}

static bool has_bit(const uint64_t *bits, uint32_t index) { return (bits[index / 64] >> index % 64 & 1) != 0; }

/* A reply or a stream was being sent. */
static void end_reply(struct recovery *recovery, int connection, uint32_t index, const struct error *err)
{
    struct outlet_progress progress = outlet_progress(recovery->board, index);
    enum protocol protocol = protocol_of(recovery->board, index);
    bool is_out = progress.left == 0 &&
                  (progress.then == THEN_CLOSED || progress.then == THEN_UNREAD || progress.then == THEN_TAKEN);
    if (is_out) {
        recover_count_noted(recovery->board, index, protocol);
    }
    if (progress.left == LEFT_ALL && recover_is_counted(recovery->board, index)) {
        recover_send_error(connection, peek_protocol(connection, protocol), 0, err);
        recovery->done.answered++;
    } else if (progress.left == LEFT_ALL) {
        recover_answer(connection, protocol, err, recover_began(recovery->board, index));
        recovery->done.answered++;
    } else if (is_out && progress.then == THEN_CLOSED) {
        (void)hangup(&connection);
    } else if (is_out && progress.then == THEN_UNREAD) {
        hand_on_or_refuse(recovery, connection, true);
    } else if (is_out) {
        answer_partial(connection, protocol, &recovery->done);
    } else if (recover_end_stream(connection, recovery->board, index, err)) {
        recovery->done.answered++;
    }
}

/* Its slot was overwritten, so it is not known whether a reply was sent: prefer a possible second reply to none. In the
 * protocol that the supervisor remembers. */
static void answer_overwritten(struct recovery *recovery, int connection, uint32_t index, const struct error *err)
{
    struct run run = recovery->runs != NULL ? recovery->runs[index] : (struct run){.protocol = PROTOCOL_AUTO};
    if (run.is_running && run.streams) {
        ledger_note_answer(PROTOCOL_HTTP, err, run.since);
        (void)hangup(&connection); /* it is not known where in the stream it stopped, so nothing can be added */
        return;
    }
    recover_answer(connection, run.protocol != PROTOCOL_AUTO ? run.protocol : recovery->orphans->protocol, err,
                   run.since);
    recovery->done.answered++;
}

/* What the request that ran in this slot is told. */
static const struct error *recover_error_for(const struct recovery *recovery, uint32_t index)
{
    if (!has_bit(recovery->overdue, index)) {
        return recovery->died;
    }
    if (recovery->expired == NULL || recovery->runs == NULL) {
        return recovery->late;
    }
    const struct run *run = &recovery->runs[index];
    return scoreboard_limit(run->since, recovery->timeout, run->deadline).is_callers ? recovery->expired
                                                                                     : recovery->late;
}

/* Answers, ends or hands on the connection that had this slot, by the slot's state. */
static void deal_with(struct recovery *recovery, int connection, uint32_t index)
{
    const struct scoreboard_slot *slot = &recovery->board->slots[index];
    const struct error *err = recover_error_for(recovery, index);
    bool kept = atomic_load_explicit(&slot->kept, memory_order_relaxed) != 0;
    recovery->done.found[index / 64] |= UINT64_C(1) << index % 64;
    switch (slot_state(slot)) {
    case SLOT_WAITING:
        hand_on_or_refuse(recovery, connection, kept);
        return;
    case SLOT_READING:
        if (scoreboard_first(recovery->board, index) == FIRST_NONE) {
            hand_on_or_refuse(recovery, connection, kept);
        } else {
            answer_partial(connection, protocol_of(recovery->board, index), &recovery->done);
        }
        return;
    case SLOT_REPLYING:
    case SLOT_STREAMING:
    case SLOT_PUSHING:
        end_reply(recovery, connection, index, err);
        return;
    case SLOT_FREE: /* answered and closed; the worker died before it dropped the duplicate */
    case SLOT_ANSWERED:
        (void)hangup(&connection);
        return;
    case SLOT_TAKEN:
        fd_close(&connection);
        return;
    case SLOT_RUNNING:
        recover_answer(connection, protocol_of(recovery->board, index), err, recover_began(recovery->board, index));
        recovery->done.answered++;
        return;
    default:
        answer_overwritten(recovery, connection, index, err);
        return;
    }
}

void recover_slots(struct recovery *recovery, const int *receive_ends, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < SLOTS_MAX; i++) {
        int connection = fdstore_take(receive_ends[i]);
        if (connection >= 0) {
            deal_with(recovery, connection, i);
        }
    }
}

/* A connection that was kept alive and is handed on has this priority (SO_PRIORITY; Unix sockets make no use of it).
 * Nothing else tells what it is, should its next worker die after it has taken it and before it has given it a slot. */
enum { KEPT_PRIORITY = 1 };

static void mark_kept(int connection)
{
    int priority = KEPT_PRIORITY;
    (void)setsockopt(connection, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
}

static bool is_marked_kept(int connection)
{
    int priority = 0;
    socklen_t size = sizeof priority;
    return getsockopt(connection, SOL_SOCKET, SO_PRIORITY, &priority, &size) == 0 && priority == KEPT_PRIORITY;
}

/* A connection without a slot: taken by the worker and not read from. But on an overwritten scoreboard its slot may
 * only be lost. If its stored duplicate was answered it is hung up by now; otherwise it gets a reply. */
static void deal_with_unplaced(struct recovery *recovery, int connection)
{
    if (!recovery->is_overwritten) {
        hand_on_or_refuse(recovery, connection, is_marked_kept(connection));
        return;
    }
    struct pollfd look = {.fd = connection};
    if (poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0) {
        fd_close(&connection);
        return;
    }
    recover_answer(connection, recovery->orphans->protocol, recovery->died, 0);
    recovery->done.answered++;
}

void recover_held(struct recovery *recovery, struct held *kept)
{
    for (uint32_t i = 0; i < kept->count; i++) {
        int connection = fd_take(&kept->fds[i]);
        rights_keep_in_line(connection); /* its worker may have died before it did that */
        uint32_t slot = scoreboard_find(recovery->board, kept->numbers[i]);
        if (slot == SLOTS_MAX) {
            deal_with_unplaced(recovery, connection);
        } else if (has_bit(recovery->done.found, slot)) {
            fd_close(&connection); /* its stored duplicate was answered */
        } else {
            deal_with(recovery, connection, slot);
        }
    }
    kept->count = 0;
}

bool recover_from_fdholder(struct recovery *recovery, int channel)
{
    uint64_t deadline = fdholder_deadline();
    struct held kept;
    enum fdholder_step step = fdholder_ask(channel) ? FDHOLDER_GAVE : FDHOLDER_SILENT;
    while (step == FDHOLDER_GAVE) {
        step = fdholder_take(channel, deadline, &kept);
        recover_held(recovery, &kept);
    }
    return step == FDHOLDER_DONE;
}

void orphans_dismiss(struct orphans *orphans, uint32_t index, unsigned status, const struct error *err)
{
    answer_unread(orphans->fds[index], orphans->kept[index], orphans->protocol, status, err, orphans->since[index]);
    orphans_remove(orphans, index);
}

int orphans_queue(struct orphans *orphans, uint32_t index, int queue)
{
    enum control_type type = orphans->kept[index] ? CONTROL_KEPT_ALIVE : CONTROL_CONNECTION;
    if (orphans->kept[index]) {
        mark_kept(orphans->fds[index]);
    }
    int status = control_send(queue, type, &orphans->fds[index], 1);
    if (status < 0) {
        return status;
    }
    fd_close(&orphans->fds[index]);
    orphans_remove(orphans, index);
    return 0;
}

void orphans_reclaim(struct orphans *orphans, int queue, uint64_t now)
{
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    int status;
    while (orphans_have_room(orphans) && (status = control_receive(queue, &message, fds)) != -EAGAIN) {
        if (status == -EPROTO) {
            continue; /* the function wrote to the queue */
        }
        if (status <= 0) {
            return;
        }
        bool kept = message.type == CONTROL_KEPT_ALIVE;
        for (uint32_t i = 0; i < message.count; i++) {
            if (i > 0 || !fdstore_is_connection(fds[i]) || !orphans_add(orphans, fds[i], kept, now)) {
                rights_close(&fds[i], 1);
            }
        }
    }
}

void recover_health(int connection, enum health health)
{
    static const char longest[] = "{\"status\":\"not ready\"}";
    static const char *const bodies[] = {[HEALTH_NOT_READY] = longest,
                                         [HEALTH_READY] = "{\"status\":\"ready\"}",
                                         [HEALTH_ALIVE] = "{\"status\":\"alive\"}"};
    struct view body = view_of(bodies[health]);
    struct http1_response response = {
        .status = health == HEALTH_NOT_READY ? 503 : 200, .content_length = body.size, .minor = 1};
    char bytes[HTTP1_RESPONSE_SIZE + sizeof longest];
    char method = 'G';
    size_t size = http1_response_head(&response, bytes);
    if (recv(connection, &method, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && method != 'H') { /* HEAD has no body */
        memcpy(bytes + size, body.data, body.size);
        size += body.size;
    }
    if (!brief_send(connection, bytes, size)) {
        log_debug(EVENT_CLIENT_GONE, "a client asked for health and disconnected");
    }
    (void)hangup(&connection);
}

void recover_dismiss(struct orphans *orphans, const struct listener *listener, const struct error *err)
{
    while (orphans->count > 0) {
        orphans_dismiss(orphans, orphans->count - 1, 0, err);
    }
    if (listener->fd >= 0) { /* from now on clients are refused; those in the backlog can still be accepted */
        (void)shutdown(listener->fd, SHUT_RDWR);
    }
    int connection;
    while (listener->fd >= 0 && (connection = listener_accept(listener)) >= 0) {
        recover_answer(connection, orphans->protocol, err, 0);
    }
}
