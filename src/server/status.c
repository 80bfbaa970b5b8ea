#include "server/status.h"

#include "base/text.h"

#include <stddef.h>
#include <string.h>

void status_reset(struct status_page *page)
{
    memset(page, 0, offsetof(struct status_page, ids));
    page->outlet.slot = OUTLET_NO_SLOT;
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
