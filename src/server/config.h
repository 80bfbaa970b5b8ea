/* What one worker's server is given at its start. */
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
    int fdholder; /* the number of the fdholder's channel; 0 or less: there is none */
    size_t max_message;     /* bytes of a request */
    size_t max_buffered;    /* bytes of all requests that arrive or wait (server/budget.h); 0: no limit */
    uint64_t read_timeout;  /* ns for a whole request */
    uint64_t write_timeout; /* ns for a whole reply */
    uint64_t max_requests;  /* ask to be replaced after so many; 0: never */
    bool alone;             /* no other worker is there to take whom this one leaves waiting, but for the moments in
                             * which its successor is ready and it has not heard so */
    uint32_t concurrency;   /* requests the service may hold at once (ASYA_CONCURRENCY); 0 is 1 */
    enum protocol protocol; /* PROTOCOL_AUTO: told by the first byte */
    const struct option_uids *allowed_uids; /* who may connect; NULL: everybody; borrowed */
    struct service service;
    struct scoreboard *board; /* may be NULL */
    struct fdstore *fdstore;  /* may be NULL; borrowed */
};

#endif
