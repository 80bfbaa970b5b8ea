#include "supervisor/incidents.h"

#include "base/text.h"
#include "base/timestamp.h"

#include <string.h>

/* Workers are collected one after the other, so that what is added may be older than what is there. */
static struct kept_incident *incidents_make_room(struct incidents *incidents, uint64_t at)
{
    struct kept_incident *kept = incidents->kept;
    bool is_full = incidents->count == INCIDENTS_KEPT;
    if (is_full && at < kept[0].incident.at) {
        return NULL;
    }
    if (is_full) {
        memmove(kept, kept + 1, (INCIDENTS_KEPT - 1) * sizeof kept[0]);
        incidents->count--;
    }
    uint32_t place = incidents->count;
    while (place > 0 && kept[place - 1].incident.at > at) {
        place--;
    }
    memmove(kept + place + 1, kept + place, (incidents->count - place) * sizeof kept[0]);
    incidents->count++;
    return kept + place;
}

void incidents_add(struct incidents *incidents, const struct incident *incident, int32_t worker, const char *stack)
{
    struct kept_incident *kept = incidents_make_room(incidents, incident->at);
    if (kept != NULL) {
        kept->incident = *incident;
        kept->worker = worker;
        text_copy(kept->stack, sizeof kept->stack, stack);
    }
}

void incidents_add_error(struct incidents *incidents, const struct error *err, const char *id, const char *file,
                         int32_t worker, const char *stack)
{
    struct incident incident;
    incident_make(&incident, err->category, view_of(id), view_of(err->type), view_of(err->text));
    text_copy(incident.file, sizeof incident.file, file);
    incidents_add(incidents, &incident, worker, stack);
}

void incidents_collect(struct incidents *incidents, const struct incident_ring *ring, uint32_t *seen, int32_t worker)
{
    uint32_t count = atomic_load_explicit(&ring->count, memory_order_acquire);
    uint32_t fresh = count - *seen;
    fresh = fresh < INCIDENTS_KEPT ? fresh : INCIDENTS_KEPT;
    for (uint32_t number = count - fresh; number != count; number++) {
        struct incident incident;
        if (incident_read(ring, number, &incident)) {
            uint64_t now = timestamp_now();
            incident.at = incident.at < now ? incident.at : now;
            incidents_add(incidents, &incident, worker, "");
        }
    }
    *seen = count;
}
