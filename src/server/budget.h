/*
 * How many bytes of requests a worker holds at once (ASYA_MAX_BUFFERED): what has arrived, what waits for the service,
 * and replies that wait for their clients.
 *
 * A client may send ASYA_MAX_MESSAGE_SIZE on each of a thousand connections and never finish. Beyond the budget nothing
 * more is read of requests that would need a larger buffer: they pause, their clients wait in the kernel.
 *
 *   a request up to 16 KiB           is read as ever, whatever the others hold
 *   the oldest of the larger ones    is read on as well, so that one is always finished: the budget is exceeded by one
 *                                    message at most
 *   a pause                          ends as bytes are given back; its time counts as time for the request, and who
 *                                    runs out of that is told (server_error)
 *   a pause of a second              makes the oldest give way that holds a large part and has sent next to nothing in
 *                                    that time: else a few who never finish would keep large requests out
 */
#ifndef ASYA_SERVER_BUDGET_H
#define ASYA_SERVER_BUDGET_H

#include "base/clock.h"
#include "server/conn.h"

#define BUDGET_INTERVAL (250 * CLOCK_MS)

enum { BUDGET_FREE = 16384 }; /* bytes of a request that may arrive whatever the others hold */

/* Bytes that may be read at once of a request of which nothing has arrived. */
static inline size_t budget_first_read(const struct conn_host *host)
{
    return host->config->max_buffered == 0 || host->held <= host->config->max_buffered ? (size_t)SCRATCH_SIZE
                                                                                       : BUDGET_FREE;
}

/* For how many more bytes room may be made in conn->in, `wanted` at most; 0: none, it is to pause. */
size_t budget_admit(const struct conn *conn, size_t wanted);

/* It is not read on until the budget allows it. Its client's end is noticed. */
void budget_pause(struct conn *conn);

/* `got` bytes have come. */
void budget_note_progress(struct conn *conn, size_t got);

/* Lets those who are paused be read on, where that is allowed by now. */
void budget_read_on(struct conn_host *host);

/* Who is to give way, since it holds much and keeps others from being read, with what it is told (connection_error); or
 * NULL. */
struct conn *budget_find_stalled(const struct conn_host *host, uint64_t now, struct error *ret_err);

/* When the two are to be called again; CLOCK_NEVER while nobody is paused. */
static inline uint64_t budget_next(const struct conn_host *host, uint64_t now)
{
    return host->paused == 0 ? CLOCK_NEVER : clock_after(now, BUDGET_INTERVAL);
}

#endif
