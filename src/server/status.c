#include "server/status.h"

#include <string.h>

void status_reset(struct status_page *page)
{
    memset(page, 0, sizeof *page);
    page->outlet.slot = OUTLET_NO_SLOT;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        page->slots[i].state = SLOT_FREE;
        page->slots[i].fd = -1;
        page->slots[i].first = FIRST_NONE;
        page->slots[i].left = LEFT_ALL;
        page->slots[i].lead = NOT_PARKED;
    }
}
