/*
 * One worker's server: accepts from the shared listener, serves its connections, obeys the control channel.
 *
 * Single-threaded. Silent and slow clients wait in an epoll set; a request that arrives in one piece is accepted,
 * read, answered and closed in one go. Needs no Python.
 */
#ifndef ASYA_SERVER_SERVER_H
#define ASYA_SERVER_SERVER_H

#include "base/error.h"
#include "server/park.h"
#include "server/service.h"
#include "server/status.h"

#include <stddef.h>
#include <stdint.h>

struct server_config {
    int listener;           /* non-blocking; borrowed; CONTROL_LISTENER puts another socket at this number */
    int control;            /* the worker's end of its control channel, or -1; borrowed */
    size_t max_message;     /* bytes of a request */
    uint64_t read_timeout;  /* ns for a whole request */
    uint64_t write_timeout; /* ns for a whole reply */
    uint64_t max_requests;  /* ask to be replaced after so many; 0: never */
    bool retire_at_once;    /* at that point accept no more, without waiting to be told */
    struct service service;
    struct status_page *page; /* may be NULL */
    struct park *park;        /* may be NULL; borrowed */
};

/* Serves until told to drain (CONTROL_DRAIN) and all is answered, or until the other end of the control channel is
 * gone. Returns true then; false with `err` if it could not start. */
bool server_run(const struct server_config *config, struct error *err);

#endif
