/*
 * The last errors that clients were answered, for GET /status. A worker notes those it has made in a ring on its
 * scoreboard, so that no system call is needed; the supervisor collects them, and adds its own.
 *
 * Several threads of a worker may note errors: each takes a number and writes the entry of that number. An entry's
 * sequence is odd while it is written, and tells its number afterwards, so the supervisor knows a whole entry from one
 * that changes under its hands. The function can write over all of this: what is read is bounded, and texts end. A text
 * is what the reply has as its message, cut; never a payload.
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

/* Reads entry `number`, counted from 0. False if it is not whole, or has been written over by a later one. */
bool incident_read(const struct incident_ring *ring, uint32_t number, struct incident *ret_incident);

#endif
