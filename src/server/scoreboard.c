#include "server/scoreboard.h"

#include "base/text.h"

#include <stddef.h>
#include <string.h>

/* In four places, four values: a copy of one part over another is seen too. */
enum { GUARD_HEAD, GUARD_SLOTS, GUARD_IDS, GUARD_END };

static uint64_t scoreboard_guard_word(int place) { return UINT64_C(0xA57A6A5D3C96E100) + (uint64_t)place; }

static void scoreboard_set_guard(struct scoreboard_guard *guard, int place)
{
    atomic_store_explicit(&guard->word, scoreboard_guard_word(place), memory_order_relaxed);
}

static bool scoreboard_is_guarded(const struct scoreboard_guard *guard, int place)
{
    return atomic_load_explicit(&guard->word, memory_order_relaxed) == scoreboard_guard_word(place);
}

bool scoreboard_is_intact(const struct scoreboard *board)
{
    return scoreboard_is_guarded(&board->guard_head, GUARD_HEAD) &&
           scoreboard_is_guarded(&board->guard_slots, GUARD_SLOTS) &&
           scoreboard_is_guarded(&board->guard_ids, GUARD_IDS) && scoreboard_is_guarded(&board->guard_end, GUARD_END);
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
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        board->slots[i].state = SLOT_FREE;
        board->slots[i].fd = -1;
        board->slots[i].first = FIRST_NONE;
        board->slots[i].left = LEFT_ALL;
    }
}

void scoreboard_note_id(struct scoreboard *board, struct scoreboard_slot *slot, struct view id)
{
    size_t size = text_cut(id.data, id.size, SCOREBOARD_ID_MAX);
    memcpy(board->ids[slot - board->slots], id.data, size);
    slot->id_size = (uint8_t)size;
}
