/*
 * The function has closed or replaced descriptors of the runtime. What else it hit cannot be known, so the worker ends;
 * the supervisor answers what is parked, the keeper gives the rest, and a new worker starts.
 *
 * The keeper shares the table, and its channel may be among what was closed: then nobody but this process can answer a
 * connection that is not parked, and it does. What the function closes between accept4() and park_put() of a
 * connection, beside it in another thread, is lost: some microseconds (docs/reliability.md, Limits).
 */
#ifndef ASYA_SERVER_TAMPERED_H
#define ASYA_SERVER_TAMPERED_H

#include "base/fd.h"
#include "server/status.h"
#include "server/table.h"
#include "wire/protocol.h"

#include <errno.h>

/* What has to be known of the worker before anything is closed. */
struct tampered {
    struct status_page *page;      /* may be NULL: nobody watches */
    struct table_name listener;    /* its connections have this name */
    struct file_identity identity; /* of the keeper's channel */
    int keeper;                    /* the number of that channel, or -1: there is none */
    enum protocol protocol;        /* ASYA_PROTOCOL */
};

/* At the start of a worker's server. `keeper`: the number of the keeper's channel in this table, or -1. Returns 0, or
 * -errno if the function has closed the listener as it was loaded. */
int tampered_begin(struct tampered *tampered, struct status_page *page, int listener, int keeper,
                   enum protocol protocol);

/* Ends the worker. */
_Noreturn void tampered_end(const struct tampered *tampered);

/* Likewise if `error`, an errno of a call on a descriptor of ours, says that it is none any more. */
static inline void tampered_check(const struct tampered *tampered, int error)
{
    if (error == EBADF || error == ENOTSOCK) {
        tampered_end(tampered);
    }
}

#endif
