/*
 * The function has closed or replaced descriptors of the runtime. It is not known which others it has closed, so the
 * worker ends: the supervisor answers the stored connections, the fdholder gives it the others, and a new worker
 * starts.
 *
 * The fdholder shares the worker's table, so its channel may have been closed too. Then only this process can still
 * answer the connections that are not stored, and it does so before it ends. A connection is lost if another thread of
 * the function closes it between accept4() and fdstore_put(): a window of some microseconds (docs/reliability.md,
 * Limits).
 */
#ifndef ASYA_SERVER_TAMPERED_H
#define ASYA_SERVER_TAMPERED_H

#include "base/fd.h"
#include "server/scoreboard.h"
#include "server/table.h"
#include "wire/protocol.h"

#include <errno.h>

/* What must be known about the worker before the function closes anything. */
struct tampered {
    struct scoreboard *board;      /* may be NULL: nobody watches */
    struct table_name listener;    /* the name that its connections have */
    struct file_identity identity; /* of the fdholder's channel */
    int fdholder;                  /* number of that channel, or -1: there is none */
    enum protocol protocol;        /* ASYA_PROTOCOL */
    bool has_seen_one;             /* a connection: tampered_see_first() was called */
};

/* To be called when a worker's server starts. `fdholder`: the number of the fdholder's channel in this table, or -1. If
 * the listener has no name, connections that are not stored will not be found. */
void tampered_begin(struct tampered *tampered, struct scoreboard *board, int listener, int fdholder,
                    enum protocol protocol);

/* To be called with the first connection, as soon as it is accepted. A system may give connections no name (gVisor,
 * where the socket's folder is the host's: --host-uds): then a name shows nothing, and connections that are not stored
 * will not be found. */
void tampered_see_first(struct tampered *tampered, int fd);

/* Ends the worker, after it has answered the connections that nobody else can answer. */
_Noreturn void tampered_end(const struct tampered *tampered);

/* Ends the worker if `error`, an errno of a call on one of our descriptors, says that this is not ours any more. */
static inline void tampered_check(const struct tampered *tampered, int error)
{
    if (error == EBADF || error == ENOTSOCK) {
        tampered_end(tampered);
    }
}

/* The same for reading. What a sandbox of the function (seccomp) refuses will not work again: the worker would go on
 * accepting, and close each connection without a reply. */
static inline void tampered_check_read(const struct tampered *tampered, int error)
{
    if (error == EPERM || error == EACCES || error == ENOSYS) {
        tampered_end(tampered);
    }
    tampered_check(tampered, error);
}

#endif
