#include "server/slot.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

static struct status_slot *find(const struct conn *conn)
{
    struct status_page *page = conn->host->page;
    return page != NULL && conn->slot != NO_SLOT ? &page->slots[conn->slot] : NULL;
}

void slot_set(const struct conn *conn, enum slot_state state)
{
    struct status_slot *slot = find(conn);
    if (slot != NULL) {
        atomic_store_explicit(&slot->state, state, memory_order_release);
    }
}

void slot_park(struct conn *conn)
{
    struct conn_host *host = conn->host;
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
    slot_set(conn, SLOT_WAITING);
}

void slot_unpark(struct conn *conn)
{
    struct conn_host *host = conn->host;
    if (conn->slot != NO_SLOT) {
        park_drop(host->park, conn->slot);
        slot_set(conn, SLOT_FREE);
        host->free_slots[host->free_count++] = conn->slot;
        conn->slot = NO_SLOT;
    }
}

bool slot_claim(const struct conn *conn)
{
    struct status_slot *slot = find(conn);
    uint32_t state = SLOT_WAITING;
    return slot == NULL ||
           atomic_compare_exchange_strong_explicit(&slot->state, &state, SLOT_READING, memory_order_acq_rel,
                                                   memory_order_acquire) ||
           state != SLOT_TAKEN;
}

struct status_slot *slot_run(const struct conn *conn)
{
    struct status_slot *slot = find(conn);
    if (slot != NULL) {
        atomic_store_explicit(&slot->since, clock_now(), memory_order_relaxed);
        atomic_store_explicit(&slot->sequence, conn->sequence, memory_order_relaxed);
        atomic_store_explicit(&slot->protocol, conn->protocol, memory_order_relaxed);
        atomic_store_explicit(&slot->state, SLOT_RUNNING, memory_order_release);
    }
    return slot;
}

bool slot_leave(const struct conn *conn, enum slot_state state)
{
    struct status_slot *slot = find(conn);
    if (slot == NULL) {
        return true;
    }
    uint32_t found = atomic_load_explicit(&slot->state, memory_order_acquire);
    /* any other value is not the supervisor's: the function wrote into the page, and still wants its reply */
    while (found != SLOT_ANSWERED) {
        if (atomic_compare_exchange_weak_explicit(&slot->state, &found, state, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

bool slot_is_answered(const struct conn *conn)
{
    const struct status_slot *slot = find(conn);
    return slot != NULL && atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_ANSWERED;
}
