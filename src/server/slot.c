#include "server/slot.h"

#include "server/control.h"
#include "server/outlet.h"
#include "server/rights.h"

static struct scoreboard_slot *slot_find(const struct slots *slots, uint32_t slot)
{
    return slot != NO_SLOT ? &slots->board->slots[slot] : NULL;
}

/* The word for another state of the same connection. Only the worker changes the count in it. */
static uint32_t slot_word(const struct scoreboard_slot *place, enum slot_state state)
{
    uint32_t word = atomic_load_explicit(&place->state, memory_order_relaxed);
    return word - SLOT_STATE(word) + (uint32_t)state;
}

/* The word that begins with the next request. */
static uint32_t slot_next_word(uint32_t word, enum slot_state state)
{
    return (((word >> SLOT_STATE_BITS) + 1) << SLOT_STATE_BITS) + (uint32_t)state;
}

static void slot_store_state(struct scoreboard_slot *place, enum slot_state state)
{
    atomic_store_explicit(&place->state, slot_word(place, state), memory_order_release);
}

void slots_reset(struct slots *slots)
{
    slots->free_count = 0;
    for (uint32_t slot = slots->board != NULL ? SLOTS_MAX : 0; slot > 0; slot--) {
        slots->free[slots->free_count++] = slot - 1;
    }
}

static bool slot_has_entry(const struct slots *slots, uint32_t slot)
{
    return slots->fdstore != NULL && slot < slots->fdstore->count;
}

int slot_store(const struct slots *slots, uint32_t slot, int fd)
{
    if (slot == NO_SLOT || !slot_has_entry(slots, slot)) {
        return 0;
    }
    int status = fdstore_put(slots->fdstore, slot, fd);
    if (status == 0) {
        atomic_store_explicit(&slots->board->slots[slot].stored, 1, memory_order_relaxed);
    } else {
        tampered_check(slots->tampered, -status);
    }
    return status;
}

/* From the store of WAITING to fdstore_put() the connection is only in the worker's table, where the fdholder finds
 * it. */
int slot_enter(struct slots *slots, int fd, enum protocol protocol, bool kept, uint32_t *ret_slot)
{
    *ret_slot = NO_SLOT;
    if (slots->board == NULL) {
        return 0;
    }
    uint32_t slot = *ret_slot = slots->free[--slots->free_count];
    struct scoreboard_slot *place = slot_find(slots, slot);
    uint32_t word = atomic_load_explicit(&place->state, memory_order_relaxed);
    atomic_store_explicit(&place->fd, fd, memory_order_relaxed);
    atomic_store_explicit(&place->protocol, (uint16_t)protocol, memory_order_relaxed);
    atomic_store_explicit(&place->kept, kept, memory_order_relaxed);
    atomic_store_explicit(&place->pending, 0, memory_order_relaxed);
    place->first = FIRST_NONE;
    atomic_store_explicit(&place->state, slot_next_word(word, SLOT_WAITING), memory_order_release);
    return slot_store(slots, slot, fd);
}

bool slot_is_stored(const struct slots *slots, uint32_t slot)
{
    const struct scoreboard_slot *place = slot_find(slots, slot);
    return place != NULL && atomic_load_explicit(&place->stored, memory_order_relaxed) != 0;
}

/* Slots without an entry in the fdstore are taken last. */
static void slot_give_back(struct slots *slots, uint32_t slot)
{
    slots->free[slots->free_count++] = slot;
    if (!slot_has_entry(slots, slot)) {
        slots->free[slots->free_count - 1] = slots->free[0];
        slots->free[0] = slot;
    }
}

void slot_vacate(struct slots *slots, uint32_t slot)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    if (place == NULL) {
        return;
    }
    atomic_store_explicit(&place->fd, -1, memory_order_relaxed); /* the number may soon be another file's */
    if (slot_is_stored(slots, slot)) {
        if (slot_state(place) != SLOT_TAKEN) { /* TAKEN until it is dropped: recover.c must not end it */
            slot_store_state(place, SLOT_FREE);
        }
        tampered_check_read(slots->tampered, -fdstore_drop(slots->fdstore, slot));
        atomic_store_explicit(&place->stored, 0, memory_order_relaxed);
    }
    slot_store_state(place, SLOT_FREE);
    slot_give_back(slots, slot);
}

bool slot_claim(const struct slots *slots, uint32_t slot)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    return place == NULL || slot_move(place, SLOT_WAITING, SLOT_READING) || slot_state(place) != SLOT_TAKEN;
}

bool slot_end(const struct slots *slots, uint32_t slot)
{
    return !slot_is_answered(slots, slot) && slot_claim(slots, slot);
}

void slot_set(const struct slots *slots, uint32_t slot, enum slot_state state)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    if (place != NULL) {
        slot_store_state(place, state);
    }
}

/* Notes that a byte was taken. If it is equal to FIRST_NONE, another value stands for it: no message begins with
 * either. */
static void slot_note_first(struct scoreboard_slot *place, unsigned char first)
{
    place->first = first == FIRST_NONE ? FIRST_NONE - 1 : first;
}

ssize_t slot_receive(const struct slots *slots, uint32_t slot, int fd, bool first, unsigned char *bytes, size_t size)
{
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct scoreboard_slot *place = first ? slot_find(slots, slot) : NULL;
    if (place == NULL || bytes != slots->board->scratch) {
        return rights_receive(fd, &part, 1);
    }
    bytes[0] = FIRST_NONE;
    atomic_store_explicit(&slots->board->inlet.slot, slot, memory_order_release);
    ssize_t got = rights_receive(fd, &part, 1);
    if (got > 0) {
        slot_note_first(place, bytes[0]);
    }
    atomic_store_explicit(&slots->board->inlet.slot, OUTLET_NO_SLOT, memory_order_release);
    return got;
}

void slot_set_protocol(const struct slots *slots, uint32_t slot, enum protocol protocol)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    if (place != NULL) {
        atomic_store_explicit(&place->protocol, (uint16_t)protocol, memory_order_relaxed);
    }
}

bool slot_renew(const struct slots *slots, uint32_t slot, const unsigned char *first)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    enum slot_state state = first != NULL ? SLOT_READING : SLOT_WAITING;
    if (place == NULL) {
        return true;
    }
    atomic_store_explicit(&place->kept, 1, memory_order_relaxed);
    place->first = FIRST_NONE;
    if (first != NULL) {
        slot_note_first(place, *first);
    }
    uint32_t word = atomic_load_explicit(&place->state, memory_order_acquire);
    while (SLOT_STATE(word) != SLOT_TAKEN) { /* REPLYING, or the function wrote over it */
        uint32_t next = slot_next_word(word, state);
        if (atomic_compare_exchange_weak_explicit(&place->state, &word, next, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

void slot_reply(const struct slots *slots, uint32_t slot)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    if (place != NULL) {
        outlet_begin(place);
        atomic_store_explicit(&place->since, clock_now(), memory_order_relaxed); /* else that of the request before */
        atomic_store_explicit(&place->recorded, 0, memory_order_relaxed);
        place->id_size = place->trace_size = 0;
        slot_store_state(place, SLOT_REPLYING);
    }
}

/* While something runs the supervisor looks at the scoreboard every tick; when it sleeps, it is woken by one message.
 * The fence makes the state that was stored before visible before `watched` is read. The supervisor uses the same
 * order: it clears `watched` and then checks once more whether something runs. So one of the two always notices. */
static void slots_ask_to_watch(const struct slots *slots)
{
    struct scoreboard *board = slots->board;
    atomic_thread_fence(memory_order_seq_cst);
    if (slots->control < 0 || atomic_load_explicit(&board->watched, memory_order_relaxed) == SCOREBOARD_WATCHED) {
        return;
    }
    int status = control_send(slots->control, CONTROL_WATCH, NULL, 0);
    if (status == 0) {
        atomic_store_explicit(&board->watched, SCOREBOARD_WATCHED, memory_order_relaxed);
    }
    tampered_check(slots->tampered, -status); /* without the channel nobody would ever look at this request */
}

struct scoreboard_slot *slot_run(const struct slots *slots, uint32_t slot, uint64_t sequence, uint64_t now)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    if (place != NULL) {
        outlet_begin(place);
        atomic_store_explicit(&place->since, now, memory_order_relaxed);
        atomic_store_explicit(&place->sequence, sequence, memory_order_relaxed);
        atomic_store_explicit(&place->deadline, 0, memory_order_relaxed);
        atomic_store_explicit(&place->recorded, 0, memory_order_relaxed);
        place->id_size = place->trace_size = 0;
        slot_store_state(place, SLOT_RUNNING);
        slots_ask_to_watch(slots);
    }
    return place;
}

bool slot_leave(const struct slots *slots, uint32_t slot, enum slot_state state)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    if (place == NULL) {
        return true;
    }
    uint32_t word = atomic_load_explicit(&place->state, memory_order_acquire);
    /* Any state that is not defined was not written by the supervisor: the function wrote over the scoreboard. Its
     * client still gets the reply. */
    if (SLOT_STATE(word) != SLOT_RUNNING && !slot_is_state((enum slot_state)SLOT_STATE(word))) {
        scoreboard_note_overwritten(slots->board);
    }
    while (SLOT_STATE(word) != SLOT_ANSWERED) {
        uint32_t next = word - SLOT_STATE(word) + (uint32_t)state;
        if (atomic_compare_exchange_weak_explicit(&place->state, &word, next, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

void slot_set_chunked(const struct slots *slots, uint32_t slot, bool chunked)
{
    struct scoreboard_slot *place = slot_find(slots, slot);
    if (place != NULL) {
        atomic_store_explicit(&place->unchunked, !chunked, memory_order_relaxed);
    }
}

bool slot_is_answered(const struct slots *slots, uint32_t slot)
{
    const struct scoreboard_slot *place = slot_find(slots, slot);
    return place != NULL && slot_state(place) == SLOT_ANSWERED;
}
