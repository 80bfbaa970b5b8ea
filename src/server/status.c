#include "server/status.h"

#include "base/text.h"

#include <stddef.h>
#include <string.h>

/* In four places, four values: a copy of one part over another is seen too. */
enum { GUARD_HEAD, GUARD_SLOTS, GUARD_IDS, GUARD_END };

static uint64_t guard_word(int place) { return UINT64_C(0xA57A6A5D3C96E100) + (uint64_t)place; }

static void set_guard(struct status_guard *guard, int place)
{
    atomic_store_explicit(&guard->word, guard_word(place), memory_order_relaxed);
}

static bool is_guarded(const struct status_guard *guard, int place)
{
    return atomic_load_explicit(&guard->word, memory_order_relaxed) == guard_word(place);
}

bool status_is_intact(const struct status_page *page)
{
    return is_guarded(&page->guard_head, GUARD_HEAD) && is_guarded(&page->guard_slots, GUARD_SLOTS) &&
           is_guarded(&page->guard_ids, GUARD_IDS) && is_guarded(&page->guard_end, GUARD_END);
}

bool status_is_plausible(const struct status_page *page)
{
    bool is_plausible = status_is_intact(page);
    for (uint32_t i = 0; i < SLOTS_MAX && is_plausible; i++) {
        is_plausible = slot_is_state(slot_state(&page->slots[i]));
    }
    return is_plausible;
}

void status_note_overwritten(struct status_page *page)
{
    atomic_store_explicit(&page->guard_head.word, 0, memory_order_release);
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

uint8_t status_first(const struct status_page *page, uint32_t slot)
{
    bool is_read = atomic_load_explicit(&page->inlet.slot, memory_order_acquire) == slot;
    return is_read && page->scratch[0] != FIRST_NONE ? page->scratch[0] : page->slots[slot].first;
}

void status_reset(struct status_page *page)
{
    memset(page, 0, offsetof(struct status_page, ids));
    set_guard(&page->guard_head, GUARD_HEAD);
    set_guard(&page->guard_slots, GUARD_SLOTS);
    set_guard(&page->guard_ids, GUARD_IDS);
    set_guard(&page->guard_end, GUARD_END);
    page->outlet.slot = page->inlet.slot = OUTLET_NO_SLOT;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        page->slots[i].state = SLOT_FREE;
        page->slots[i].fd = -1;
        page->slots[i].first = FIRST_NONE;
        page->slots[i].left = LEFT_ALL;
        page->slots[i].lead = NOT_PARKED;
    }
}

void status_note_id(struct status_page *page, struct status_slot *slot, struct view id)
{
    size_t size = text_cut(id.data, id.size, STATUS_ID_MAX);
    memcpy(page->ids[slot - page->slots], id.data, size);
    slot->id_size = (uint8_t)size;
}
