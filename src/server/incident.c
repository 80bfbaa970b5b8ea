#include "server/incident.h"

#include "base/text.h"
#include "base/timestamp.h"

#include <string.h>

static void incident_copy(char *target, size_t size, struct view text)
{
    size_t used = text_cut(text.data, text.size, size - 1);
    if (used > 0) {
        memcpy(target, text.data, used);
    }
    target[used] = '\0';
}

void incident_make(struct incident *ret_incident, enum error_category category, struct view id, struct view type,
                   struct view text)
{
    ret_incident->at = timestamp_now();
    ret_incident->category = (uint32_t)category;
    incident_copy(ret_incident->id, sizeof ret_incident->id, id);
    incident_copy(ret_incident->type, sizeof ret_incident->type, type);
    incident_copy(ret_incident->text, sizeof ret_incident->text, text);
    ret_incident->file[0] = '\0';
}

/* Of an entry that is whole and has this number; odd while it is written. */
static uint32_t incident_sequence(uint32_t number) { return number * 2 + 2; }

void incident_note(struct incident_ring *ring, const struct incident *incident)
{
    uint32_t number = atomic_fetch_add_explicit(&ring->count, 1, memory_order_relaxed);
    struct incident_entry *entry = &ring->entries[number % INCIDENTS_KEPT];
    atomic_store_explicit(&entry->sequence, incident_sequence(number) - 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    entry->incident = *incident;
    atomic_store_explicit(&entry->sequence, incident_sequence(number), memory_order_release);
}

bool incident_read(const struct incident_ring *ring, uint32_t number, struct incident *ret_incident)
{
    const struct incident_entry *entry = &ring->entries[number % INCIDENTS_KEPT];
    struct incident read;
    uint32_t before = atomic_load_explicit(&entry->sequence, memory_order_acquire);
    memcpy(&read, &entry->incident, sizeof read);
    atomic_thread_fence(memory_order_acquire);
    if (before != incident_sequence(number) || atomic_load_explicit(&entry->sequence, memory_order_relaxed) != before) {
        return false;
    }
    read.id[sizeof read.id - 1] = read.type[sizeof read.type - 1] = read.text[sizeof read.text - 1] = '\0';
    read.file[sizeof read.file - 1] = '\0';
    *ret_incident = read;
    return true;
}
