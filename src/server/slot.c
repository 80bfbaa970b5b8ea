#include "server/slot.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/control.h"
#include "server/outlet.h"
#include "server/rights.h"
#include "server/room.h"

#include <string.h>
#include <sys/socket.h>

static struct scoreboard_slot *find(const struct conn *conn)
{
    struct scoreboard *board = conn->host->board;
    return board != NULL && conn->slot != NO_SLOT ? &board->slots[conn->slot] : NULL;
}

/* The state under the same count. The worker alone writes the count. */
static uint32_t word_with(const struct scoreboard_slot *slot, enum slot_state state)
{
    uint32_t word = atomic_load_explicit(&slot->state, memory_order_relaxed);
    return word - SLOT_STATE(word) + (uint32_t)state;
}

void slot_reset(struct conn_host *host)
{
    host->free_count = 0;
    for (uint32_t slot = host->board != NULL ? SLOTS_MAX : 0; slot > 0; slot--) {
        host->free_slots[host->free_count++] = slot - 1;
    }
}

bool slot_is_short(const struct conn_host *host)
{
    return host->fdstore != NULL && host->fdstore->count < SLOTS_MAX &&
           (host->free_count == 0 || host->free_slots[host->free_count - 1] >= host->fdstore->count);
}

void slot_set(const struct conn *conn, enum slot_state state)
{
    struct scoreboard_slot *slot = find(conn);
    if (slot != NULL) {
        atomic_store_explicit(&slot->state, word_with(slot, state), memory_order_release);
    }
}

static void set_lead(struct conn_host *host, uint32_t slot, uint32_t lead)
{
    host->lead[slot] = (uint16_t)lead;
    atomic_store_explicit(&host->board->slots[slot].lead, (uint16_t)lead, memory_order_relaxed);
}

/* From here to fdstore_put() the connection is in the table and on the scoreboard: the fdholder has it. */
static void enter(struct conn *conn)
{
    struct conn_host *host = conn->host;
    conn->slot = host->free_slots[--host->free_count];
    struct scoreboard_slot *slot = &host->board->slots[conn->slot];
    uint32_t count = atomic_load_explicit(&slot->state, memory_order_relaxed) >> SLOT_STATE_BITS;
    set_lead(host, conn->slot, NOT_STORED);
    atomic_store_explicit(&slot->fd, conn->fd, memory_order_relaxed);
    atomic_store_explicit(&slot->protocol, (uint16_t)conn->protocol, memory_order_relaxed);
    atomic_store_explicit(&slot->kept, conn->served > 0, memory_order_relaxed);
    slot->first = FIRST_NONE;
    atomic_store_explicit(&slot->state, ((count + 1) << SLOT_STATE_BITS) + SLOT_WAITING, memory_order_release);
}

void slot_enter(struct conn *conn)
{
    struct conn_host *host = conn->host;
    if (host->board == NULL) {
        return;
    }
    enter(conn);
    if (host->fdstore == NULL || conn->slot >= host->fdstore->count) {
        return;
    }
    host->unstored[host->unstored_count++] = conn;
    if (host->unstored_count == FDSTORE_GROUP || host->running > 0) {
        slot_store(host);
    }
}

/* Stores them all in the slot of the first. */
static int store_together(struct conn_host *host, struct conn *const *conns, uint32_t count)
{
    struct fdstore_group group = {.count = count};
    for (uint32_t i = 0; i < count; i++) {
        group.slots[i] = (uint16_t)conns[i]->slot;
        group.fds[i] = conns[i]->fd;
    }
    int status = fdstore_put(host->fdstore, group.slots[0], &group);
    if (status < 0) {
        tampered_check(&host->tampered, -status);
        return status;
    }
    for (uint32_t i = 0; i < count; i++) {
        set_lead(host, group.slots[i], group.slots[0]);
        host->sibling[group.slots[i]] = group.slots[i + 1 < count ? i + 1 : 0];
    }
    host->open[group.slots[0]] = (uint8_t)count;
    return 0;
}

void slot_store(struct conn_host *host)
{
    uint32_t count = host->unstored_count;
    host->unstored_count = 0;
    if (count == 0 || store_together(host, host->unstored, count) == 0) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) { /* there may be room for some, or as soon as an idle one gives way */
        struct conn *conn = host->unstored[i];
        int status = 0;
        while (conn->fd >= 0 && (status = store_together(host, &conn, 1)) < 0 && room_vacate_idle(host)) {
        }
        if (conn->fd >= 0 && status < 0) {
            log_warning("a connection could not be stored (%s): if the function closes it, its client gets no reply",
                        strerror(-status));
        }
    }
}

bool slot_is_stored(const struct conn *conn)
{
    return conn->slot != NO_SLOT && conn->host->lead[conn->slot] != NOT_STORED;
}

/* Nothing lies in the slot any more. One that cannot be stored in is taken last. */
static void give_back(struct conn_host *host, uint32_t slot)
{
    atomic_store_explicit(&host->board->slots[slot].state, word_with(&host->board->slots[slot], SLOT_FREE),
                          memory_order_release);
    host->free_slots[host->free_count++] = slot;
    if (host->fdstore != NULL && slot >= host->fdstore->count) {
        host->free_slots[host->free_count - 1] = host->free_slots[0];
        host->free_slots[0] = slot;
    }
}

/* The last of those that were stored together is closed. Until then none of their slots is used again: what lies there
 * says whose it is by the slot. */
static void drop_group(struct conn_host *host, uint32_t lead)
{
    uint32_t count = 1;
    uint32_t slot = host->sibling[lead];
    while (slot != lead && count < FDSTORE_GROUP) {
        count++;
        slot = host->sibling[slot];
    }
    fdstore_drop(host->fdstore, lead, count);
    slot = lead;
    do {
        set_lead(host, slot, NOT_STORED);
        give_back(host, slot);
        slot = host->sibling[slot];
    } while (slot != lead);
}

static void forget_unstored(struct conn_host *host, const struct conn *conn)
{
    for (uint32_t i = 0; i < host->unstored_count; i++) {
        if (host->unstored[i] == conn) {
            host->unstored[i] = host->unstored[--host->unstored_count];
            return;
        }
    }
}

void slot_vacate(struct conn *conn)
{
    struct conn_host *host = conn->host;
    if (host->board == NULL) {
        return;
    }
    if (conn->slot == NO_SLOT) {
        return; /* it was handed on */
    }
    struct scoreboard_slot *slot = find(conn);
    uint32_t lead = host->lead[conn->slot];
    atomic_store_explicit(&slot->fd, -1, memory_order_relaxed); /* the number may be another's soon */
    if (lead == NOT_STORED) {
        forget_unstored(host, conn);
        give_back(host, conn->slot);
    } else {
        if (slot_state(slot) != SLOT_TAKEN) { /* of a duplicate that lies here still, that is what matters */
            slot_set(conn, SLOT_FREE);
        }
        if (--host->open[lead] == 0) {
            drop_group(host, lead);
        }
    }
    conn->slot = NO_SLOT;
}

bool slot_claim(const struct conn *conn)
{
    struct scoreboard_slot *slot = find(conn);
    return slot == NULL || slot_move(slot, SLOT_WAITING, SLOT_READING) || slot_state(slot) != SLOT_TAKEN;
}

/* The supervisor looks at the scoreboard every tick while something runs; asleep, it is woken once. What was stored
 * before and this load cannot pass each other, nor can its clearing of `watched` and its last look at `running`. */
static void ask_to_watch(const struct conn_host *host)
{
    struct scoreboard *board = host->board;
    atomic_thread_fence(memory_order_seq_cst);
    if (host->control < 0 || atomic_load_explicit(&board->watched, memory_order_relaxed) == SCOREBOARD_WATCHED) {
        return;
    }
    int status = control_send(host->control, CONTROL_WATCH, NULL, 0);
    if (status == 0) {
        atomic_store_explicit(&board->watched, SCOREBOARD_WATCHED, memory_order_relaxed);
    }
    tampered_check(&host->tampered, -status); /* nobody would ever look at it */
}

/* A byte was taken, also where it is the one that says that none was: no message begins with either. */
static void note_first(struct scoreboard_slot *slot, unsigned char first)
{
    slot->first = first == FIRST_NONE ? FIRST_NONE - 1 : first;
}

ssize_t slot_receive(const struct conn *conn, unsigned char *bytes, size_t size)
{
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct scoreboard *board = conn->host->board;
    struct scoreboard_slot *slot = conn->seen == 0 && board != NULL && bytes == board->scratch ? find(conn) : NULL;
    if (slot == NULL) {
        return rights_receive(conn->fd, &part, 1);
    }
    bytes[0] = FIRST_NONE;
    atomic_store_explicit(&board->inlet.slot, conn->slot, memory_order_release);
    ssize_t got = rights_receive(conn->fd, &part, 1);
    if (got > 0) {
        note_first(slot, bytes[0]);
    }
    atomic_store_explicit(&board->inlet.slot, OUTLET_NO_SLOT, memory_order_release);
    return got;
}

void slot_renew(const struct conn *conn, const unsigned char *first)
{
    struct scoreboard_slot *slot = find(conn);
    if (slot != NULL) {
        atomic_store_explicit(&slot->kept, 1, memory_order_relaxed);
        slot->first = FIRST_NONE;
        if (first != NULL) {
            note_first(slot, *first);
        }
        slot_set(conn, first != NULL ? SLOT_READING : SLOT_WAITING);
    }
}

void slot_reply(const struct conn *conn)
{
    struct scoreboard_slot *slot = find(conn);
    if (slot != NULL) {
        outlet_begin(slot);
        slot_set(conn, SLOT_REPLYING);
    }
}

void slot_set_chunked(const struct conn *conn, bool chunked)
{
    struct scoreboard_slot *slot = find(conn);
    if (slot != NULL) {
        atomic_store_explicit(&slot->unchunked, !chunked, memory_order_relaxed);
    }
}

void slot_set_protocol(const struct conn *conn)
{
    struct scoreboard_slot *slot = find(conn);
    if (slot != NULL) {
        atomic_store_explicit(&slot->protocol, (uint16_t)conn->protocol, memory_order_relaxed);
    }
}

struct scoreboard_slot *slot_run(const struct conn *conn)
{
    struct scoreboard_slot *slot = find(conn);
    if (slot != NULL) {
        outlet_begin(slot);
        atomic_store_explicit(&slot->since, clock_now(), memory_order_relaxed);
        atomic_store_explicit(&slot->sequence, conn->sequence, memory_order_relaxed);
        slot->id_size = 0;
        atomic_store_explicit(&slot->state, word_with(slot, SLOT_RUNNING), memory_order_release);
        ask_to_watch(conn->host);
    }
    return slot;
}

bool slot_leave(const struct conn *conn, enum slot_state state)
{
    struct scoreboard_slot *slot = find(conn);
    if (slot == NULL) {
        return true;
    }
    uint32_t word = atomic_load_explicit(&slot->state, memory_order_acquire);
    /* any other value is not the supervisor's: the function wrote over the scoreboard, and still wants its reply */
    if (SLOT_STATE(word) != SLOT_RUNNING && !slot_is_state((enum slot_state)SLOT_STATE(word))) {
        scoreboard_note_overwritten(conn->host->board);
    }
    while (SLOT_STATE(word) != SLOT_ANSWERED) {
        uint32_t next = word - SLOT_STATE(word) + (uint32_t)state;
        if (atomic_compare_exchange_weak_explicit(&slot->state, &word, next, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

bool slot_is_answered(const struct conn *conn)
{
    const struct scoreboard_slot *slot = find(conn);
    return slot != NULL && slot_state(slot) == SLOT_ANSWERED;
}
