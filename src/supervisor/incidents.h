/* The last errors of all workers and of the supervisor itself (server/incident.h), oldest first; those about deaths and
 * time limits with the stacks there were. */
#ifndef ASYA_SUPERVISOR_INCIDENTS_H
#define ASYA_SUPERVISOR_INCIDENTS_H

#include "server/incident.h"

enum { INCIDENTS_STACK_SIZE = 2048, INCIDENTS_NO_WORKER = -1 };

struct kept_incident {
    struct incident incident;
    int32_t worker;                   /* its number, or INCIDENTS_NO_WORKER */
    char stack[INCIDENTS_STACK_SIZE]; /* "" if there is none */
};

struct incidents {
    uint32_t count;
    struct kept_incident kept[INCIDENTS_KEPT];
};

/* Adds one. The oldest gives way. */
void incidents_add(struct incidents *incidents, const struct incident *incident, int32_t worker, const char *stack);

/* The same for an error that the supervisor answers. `id`, `file` and `stack` may be "". */
void incidents_add_error(struct incidents *incidents, const struct error *err, const char *id, const char *file,
                         int32_t worker, const char *stack);

/* Adds what a worker has noted since `*seen`, which is then how many it has noted. A time in the future becomes now. */
void incidents_collect(struct incidents *incidents, const struct incident_ring *ring, uint32_t *seen, int32_t worker);

#endif
