/*
 * The function has closed or replaced descriptors of the runtime. What else it hit cannot be known, so the worker ends;
 * the supervisor answers what is stored, the fdholder gives the rest, and a new worker starts.
 *
 * The fdholder shares the table, and its channel may be among what was closed: then nobody but this process can answer
 * a connection that is not stored, and it does. What the function closes between accept4() and fdstore_put() of a
 * connection, beside it in another thread, is lost: some microseconds (docs/reliability.md, Limits).
 */
#ifndef ASYA_SERVER_TAMPERED_H
#define ASYA_SERVER_TAMPERED_H

#include "base/fd.h"
#include "server/scoreboard.h"
#include "server/table.h"
#include "wire/protocol.h"

#include <errno.h>

/* What has to be known of the worker before anything is closed. */
struct tampered {
    struct scoreboard *board;      /* may be NULL: nobody watches */
    struct table_name listener;    /* its connections have this name */
    struct file_identity identity; /* of the fdholder's channel */
    int fdholder;                  /* the number of that channel, or -1: there is none */
    enum protocol protocol;        /* ASYA_PROTOCOL */
};

/* At the start of a worker's server. `fdholder`: the number of the fdholder's channel in this table, or -1. Where the
 * listener's name cannot be had, connections that are not stored are not found later. */
void tampered_begin(struct tampered *tampered, struct scoreboard *board, int listener, int fdholder,
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
