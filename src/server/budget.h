/*
 * Limits how many bytes of requests a worker holds at once (ASYA_MAX_BUFFERED): requests that arrive, requests that
 * wait for the service, and replies that wait for their clients.
 *
 * Without it, clients could send ASYA_MAX_MESSAGE_SIZE on each of a thousand connections and never finish. When the
 * budget is used up, the worker stops reading requests that would need a larger buffer (they pause), and the kernel
 * makes their clients wait.
 *
 *   a request up to 16 KiB           is always read, however much the others hold
 *   the oldest of the larger ones    is read on too, so that one always finishes: the budget is exceeded by one message
 *                                    at most
 *   a pause                          ends when memory is released. Its time counts as part of ASYA_READ_TIMEOUT; a
 *                                    request whose time runs out because of it gets server_error with that reason
 *   a pause of a second              ends the oldest connection that holds a large part of a request and has sent next
 *                                    to nothing in that time: otherwise a few clients that never finish would keep out
 *                                    all other large requests
 */
#ifndef ASYA_SERVER_BUDGET_H
#define ASYA_SERVER_BUDGET_H

#include "base/clock.h"
#include "server/conn.h"

#define BUDGET_INTERVAL (250 * CLOCK_MS)

enum { BUDGET_FREE = 16384 }; /* bytes of a request that may always arrive */

/* The size of the first read of a request. */
static inline size_t budget_first_read(const struct conn_host *host)
{
    return host->config->max_buffered == 0 || host->held <= host->config->max_buffered ? (size_t)SCRATCH_SIZE
                                                                                       : BUDGET_FREE;
}

/* For how many more bytes conn->in may grow, at most `wanted`; 0: the connection must pause. */
size_t budget_admit(const struct conn *conn, size_t wanted);

/* Stops reading `conn` until the budget allows it. The end of the connection is still noticed. */
void budget_pause(struct conn *conn);

/* To be called when `got` bytes have arrived. */
void budget_note_progress(struct conn *conn, size_t got);

/* Ends the pauses that the budget allows to end. */
void budget_read_on(struct conn_host *host);

/* The connection that must give way, because it holds many bytes, makes no progress and keeps others waiting, with the
 * error for its client (connection_error); or NULL. */
struct conn *budget_find_stalled(const struct conn_host *host, uint64_t now, struct error *ret_err);

/* When to call budget_read_on() and budget_find_stalled() again; CLOCK_NEVER while no connection is paused. */
static inline uint64_t budget_next(const struct conn_host *host, uint64_t now)
{
    return host->paused == 0 ? CLOCK_NEVER : clock_after(now, BUDGET_INTERVAL);
}

#endif
