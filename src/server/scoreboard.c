#include "server/scoreboard.h"

#include "base/text.h"

#include <stddef.h>
#include <string.h>

static void scoreboard_set_guard(struct scoreboard_guard *guard, enum scoreboard_place place)
{
    atomic_store_explicit(&guard->word, SCOREBOARD_GUARD(place), memory_order_relaxed);
}

bool scoreboard_is_plausible(const struct scoreboard *board)
{
    bool is_plausible = scoreboard_is_intact(board);
    for (uint32_t i = 0; i < SLOTS_MAX && is_plausible; i++) {
        is_plausible = slot_is_state(slot_state(&board->slots[i]));
    }
    return is_plausible;
}

void scoreboard_note_overwritten(struct scoreboard *board)
{
    atomic_store_explicit(&board->guard_head.word, 0, memory_order_release);
}

bool slot_is_state(enum slot_state state)
{
    switch (state) {
    case SLOT_FREE:
    case SLOT_WAITING:
    case SLOT_READING:
    case SLOT_RUNNING:
    case SLOT_REPLYING:
    case SLOT_STREAMING:
    case SLOT_PUSHING:
    case SLOT_ANSWERED:
    case SLOT_TAKEN:
        return true;
    default:
        return false;
    }
}

uint32_t scoreboard_find(const struct scoreboard *board, int32_t fd)
{
    uint32_t slot = 0;
    while (slot < SLOTS_MAX && (slot_state(&board->slots[slot]) == SLOT_FREE ||
                                atomic_load_explicit(&board->slots[slot].fd, memory_order_relaxed) != fd)) {
        slot++;
    }
    return slot;
}

uint8_t scoreboard_first(const struct scoreboard *board, uint32_t slot)
{
    bool is_read = atomic_load_explicit(&board->inlet.slot, memory_order_acquire) == slot;
    return is_read && board->scratch[0] != FIRST_NONE ? board->scratch[0] : board->slots[slot].first;
}

void scoreboard_reset(struct scoreboard *board)
{
    memset(board, 0, offsetof(struct scoreboard, ids));
    scoreboard_set_guard(&board->guard_head, GUARD_HEAD);
    scoreboard_set_guard(&board->guard_slots, GUARD_SLOTS);
    scoreboard_set_guard(&board->guard_ids, GUARD_IDS);
    scoreboard_set_guard(&board->guard_end, GUARD_END);
    board->outlet.slot = board->inlet.slot = OUTLET_NO_SLOT;
    tally_reset(&board->tally);
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        board->slots[i].state = SLOT_FREE;
        board->slots[i].fd = -1;
        board->slots[i].first = FIRST_NONE;
        board->slots[i].left = LEFT_ALL;
    }
}

void scoreboard_settle(struct scoreboard *board)
{
    const struct scoreboard_outlet *outlet = &board->outlet;
    uint32_t sent = outlet->message.msg_len;
    if (atomic_load_explicit(&outlet->slot, memory_order_acquire) < SLOTS_MAX && sent <= outlet->left) {
        atomic_store_explicit(&board->tally.counts.sent, outlet->before + sent, memory_order_relaxed);
    }
    uint32_t slot = tally_settle(&board->tally);
    if (slot < SLOTS_MAX) {
        atomic_store_explicit(&board->slots[slot].pending, 0, memory_order_relaxed);
    }
}

void scoreboard_note_id(struct scoreboard *board, struct scoreboard_slot *slot, struct view id)
{
    size_t size = text_cut(id.data, id.size, SCOREBOARD_ID_MAX);
    memcpy(board->ids[slot - board->slots], id.data, size);
    slot->id_size = (uint8_t)size;
}

void scoreboard_note_trace(struct scoreboard *board, struct scoreboard_slot *slot, struct view traceparent)
{
    size_t size = text_cut(traceparent.data, traceparent.size, SCOREBOARD_TRACE_SIZE);
    memcpy(board->traces[slot - board->slots], traceparent.data, size);
    slot->trace_size = (uint8_t)size;
}
