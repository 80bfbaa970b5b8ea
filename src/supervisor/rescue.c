#include "supervisor/rescue.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/control.h"
#include "server/outlet.h"
#include "server/park.h"
#include "wire/reply.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
    REPLY_SIZE = 6 * (ERROR_TEXT_SIZE + ERROR_TYPE_SIZE) + 128, /* every byte escaped, and the frame around it */
    DISCARD_ROUNDS = 64, /* reads of a client's unread bytes before its connection is closed */
};

/* Writes the reply and closes. Nothing here waits: a fresh connection's buffer takes a reply of this size. */
void rescue_answer(int connection, enum protocol protocol, const struct error *err)
{
    unsigned char bytes[REPLY_SIZE];
    struct buffer out = {.data = bytes, .capacity = sizeof bytes, .limit = sizeof bytes}; /* never grows: no malloc */
    if (reply_failure(&out, protocol, err) != BUFFER_OK ||
        send(connection, out.data, out.size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)out.size) {
        log_warning("server_error: a reply could not be sent: %s", strerror(errno));
    }
    /* closing with unread input would take the reply away from a client that is still writing */
    shutdown(connection, SHUT_WR);
    for (int i = 0; i < DISCARD_ROUNDS && recv(connection, bytes, sizeof bytes, MSG_DONTWAIT) > 0; i++) {
    }
    fd_close(&connection);
}

bool orphans_add(struct orphans *orphans, int connection, uint64_t now)
{
    if (orphans->count == ORPHANS_MAX) {
        return false;
    }
    orphans->fds[orphans->count] = connection;
    orphans->since[orphans->count++] = now;
    return true;
}

/* Forgets the first `gone` orphans. */
static void orphans_shift(struct orphans *orphans, uint32_t gone)
{
    memmove(orphans->fds, orphans->fds + gone, (orphans->count - gone) * sizeof orphans->fds[0]);
    memmove(orphans->since, orphans->since + gone, (orphans->count - gone) * sizeof orphans->since[0]);
    orphans->count -= gone;
}

void orphans_remove(struct orphans *orphans, uint32_t index)
{
    uint32_t behind = orphans->count - index - 1;
    memmove(orphans->fds + index, orphans->fds + index + 1, behind * sizeof orphans->fds[0]);
    memmove(orphans->since + index, orphans->since + index + 1, behind * sizeof orphans->since[0]);
    orphans->count--;
}

void orphans_expire(struct orphans *orphans, uint64_t before, const struct error *err)
{
    uint32_t expired = 0;
    while (expired < orphans->count && orphans->since[expired] < before) {
        rescue_answer(orphans->fds[expired++], PROTOCOL_AUTO, err);
    }
    orphans_shift(orphans, expired);
}

/* The end for one whose reply has begun, or that another has: a child the function has forked may hold a copy. */
static void hang_up(int connection)
{
    (void)shutdown(connection, SHUT_RDWR);
    fd_close(&connection);
}

static void hand_on_or_refuse(struct orphans *orphans, int connection, enum protocol protocol, struct rescued *rescued)
{
    if (orphans_add(orphans, connection, clock_now())) {
        rescued->handed_on++;
        return;
    }
    struct error err;
    error_set(&err, ERR_SERVER, 0, "the worker died and too many requests wait for the next one; send it again");
    rescue_answer(connection, protocol, &err);
    rescued->partial++;
}

static void answer_partial(int connection, enum protocol protocol, struct rescued *rescued)
{
    struct error err;
    error_set(&err, ERR_SERVER, 0,
              "the worker died while this request was still arriving; it was not run, send it again");
    rescue_answer(connection, protocol, &err);
    rescued->partial++;
}

/* Deals with the connection that had this slot. */
static void deal_with(int connection, const struct status_page *page, uint32_t index, struct orphans *orphans,
                      const struct error *err, struct rescued *rescued)
{
    const struct status_slot *slot = &page->slots[index];
    enum protocol protocol = (enum protocol)atomic_load_explicit(&slot->protocol, memory_order_relaxed);
    rescued->found[index / 64] |= UINT64_C(1) << index % 64;
    switch (slot_state(slot)) {
    case SLOT_WAITING:
        hand_on_or_refuse(orphans, connection, protocol, rescued);
        return;
    case SLOT_READING:
        answer_partial(connection, protocol, rescued);
        return;
    case SLOT_FREE: /* answered and closed, and killed before it had emptied the slot */
    case SLOT_SENT:
    case SLOT_STREAMING:
    case SLOT_ANSWERED:
        hang_up(connection);
        return;
    case SLOT_TAKEN:
        fd_close(&connection);
        return;
    case SLOT_REPLYING:
        if (outlet_has_sent(page, index)) {
            hang_up(connection);
            return;
        }
        break;
    default: /* SLOT_RUNNING, or a page that was overwritten: one reply too many beats none */
        break;
    }
    rescue_answer(connection, protocol, err);
    rescued->answered++;
}

struct rescued rescue_slots(const int *receive_ends, uint32_t count, const struct status_page *page,
                            struct orphans *orphans, const struct error *err)
{
    struct rescued rescued = {0};
    for (uint32_t i = 0; i < count && i < SLOTS_MAX; i++) {
        int connection = park_take(receive_ends[i]);
        if (connection >= 0) {
            deal_with(connection, page, i, orphans, err, &rescued);
        }
    }
    return rescued;
}

/* The slot that says it is for descriptor `number`; SLOTS_MAX if none does. */
static uint32_t find_slot(const struct status_page *page, int32_t number)
{
    uint32_t slot = 0;
    while (slot < SLOTS_MAX && (slot_state(&page->slots[slot]) == SLOT_FREE ||
                                atomic_load_explicit(&page->slots[slot].fd, memory_order_relaxed) != number)) {
        slot++;
    }
    return slot;
}

void rescue_kept(struct kept *kept, const struct status_page *page, struct orphans *orphans, const struct error *err,
                 struct rescued *rescued)
{
    bool unlisted = atomic_load_explicit(&page->unlisted, memory_order_acquire) != 0;
    for (uint32_t i = 0; i < kept->count; i++) {
        int connection = fd_take(&kept->fds[i]);
        uint32_t slot = find_slot(page, kept->numbers[i]);
        if (slot == SLOTS_MAX && !unlisted) {
            hand_on_or_refuse(orphans, connection, PROTOCOL_AUTO, rescued);
        } else if (slot == SLOTS_MAX) {
            hang_up(connection); /* how far its request had come is not known: a second reply would be worse */
        } else if ((rescued->found[slot / 64] >> slot % 64 & 1) != 0) {
            fd_close(&connection); /* its parked duplicate was dealt with */
        } else {
            deal_with(connection, page, slot, orphans, err, rescued);
        }
    }
    kept->count = 0;
}

void rescue_hand_on(struct orphans *orphans, int control)
{
    uint32_t sent = 0;
    while (sent < orphans->count && control_send(control, CONTROL_CONNECTION, &orphans->fds[sent], 1) == 0) {
        fd_close(&orphans->fds[sent]);
        sent++;
    }
    orphans_shift(orphans, sent);
}

void rescue_dismiss(struct orphans *orphans, const struct listener *listener, const struct error *err)
{
    while (orphans->count > 0) {
        orphans->count--;
        rescue_answer(orphans->fds[orphans->count], PROTOCOL_AUTO, err);
    }
    int connection;
    while (listener->fd >= 0 && (connection = listener_accept(listener)) >= 0) {
        rescue_answer(connection, PROTOCOL_AUTO, err);
    }
}
