/*
 * The last errors that were sent to clients, for GET /status. A worker writes its errors into a ring buffer on its
 * scoreboard, which needs no system call; the supervisor collects them and adds its own.
 *
 * Several threads of a worker may write at once: each takes a number by an atomic addition and writes the entry of that
 * number. The entry's sequence is odd while it is being written, and gives its number afterwards (a sequence lock), so
 * the supervisor can tell a complete entry from one that is changing. The function can overwrite all of this, so the
 * reader bounds every length and terminates every text. A text is the message of the reply, cut; never a payload.
 */
#ifndef ASYA_SERVER_INCIDENT_H
#define ASYA_SERVER_INCIDENT_H

#include "base/error.h"
#include "base/view.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    INCIDENTS_KEPT = 16,
    INCIDENT_ID_SIZE = 65, /* each with its NUL */
    INCIDENT_TYPE_SIZE = 64,
    INCIDENT_TEXT_SIZE = 256,
    INCIDENT_FILE_SIZE = 72,
};

struct incident {
    uint64_t at;                   /* nanoseconds since 1970 */
    uint32_t category;             /* enum error_category */
    char id[INCIDENT_ID_SIZE];     /* of the request; "" if it has none */
    char type[INCIDENT_TYPE_SIZE]; /* class name; "" where the reply has none */
    char text[INCIDENT_TEXT_SIZE];
    char file[INCIDENT_FILE_SIZE]; /* what it was recorded in (record.h); "" if it was not */
};

struct incident_entry {
    _Atomic uint32_t sequence;
    struct incident incident;
};

struct incident_ring {
    _Atomic uint32_t count; /* how many were noted, ever */
    struct incident_entry entries[INCIDENTS_KEPT];
};

/* Fills it, without a file: the time is now, and each text is cut at a character's border. */
void incident_make(struct incident *ret_incident, enum error_category category, struct view id, struct view type,
                   struct view text);

/* Notes one. From any thread, without waiting. */
void incident_note(struct incident_ring *ring, const struct incident *incident);

/* Reads entry `number`, counted from 0. False if it is incomplete, or was overwritten by a later one. */
bool incident_read(const struct incident_ring *ring, uint32_t number, struct incident *ret_incident);

#endif
