/* What a worker's server is given when it starts. */
#ifndef ASYA_SERVER_CONFIG_H
#define ASYA_SERVER_CONFIG_H

#include "base/options.h"
#include "server/fdstore.h"
#include "server/scoreboard.h"
#include "server/service.h"

#include <stddef.h>
#include <stdint.h>

struct server_config {
    int listener; /* non-blocking; borrowed; CONTROL_LISTENER puts another socket at this number */
    int control;  /* the worker's end of its control channel, or -1; borrowed */
    int queue;    /* connections the supervisor hands on (CONTROL_CONNECTION, CONTROL_KEPT_ALIVE); 0 or less: none;
                     borrowed */
    int fdholder; /* number of the fdholder's channel; 0 or less: there is none */
    int stack;    /* number of the pipe that Python stacks are written to; 0 or less: there is none */
    int kept[3];  /* further numbers that are the runtime's; 0 or less: none */
    size_t max_message;         /* the largest request, in bytes */
    size_t max_buffered;        /* bytes in the buffers of all connections (server/budget.h); 0: no limit */
    uint64_t read_timeout;      /* ns for a whole request */
    uint64_t keepalive_timeout; /* ns that a kept connection may be idle */
    uint64_t write_timeout;     /* ns for a whole reply */
    uint64_t max_requests;      /* requests after which the worker asks to be replaced; 0: never */
    bool alone; /* no other worker can take the connections that this one leaves waiting. Briefly not true while its
                   successor is ready and this worker has not been told yet */
    bool waits; /* accepts no connection before CONTROL_SERVE: it may be a spare */
    uint32_t concurrency;                   /* requests the service may hold at once (ASYA_CONCURRENCY); 0 is 1 */
    enum protocol protocol;                 /* PROTOCOL_AUTO: the first byte tells it */
    const struct option_uids *allowed_uids; /* who may connect; NULL: everybody; borrowed */
    struct service service;
    struct scoreboard *board; /* may be NULL */
    struct fdstore *fdstore;  /* may be NULL; borrowed */
};

#endif
