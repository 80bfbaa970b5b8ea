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
 * runs out of that is told (server_error) who pauses for a second          makes the oldest give way that holds a large
 * part and has sent next to nothing in that time: else a few who never finish would keep large requests out
 */
#ifndef ASYA_SERVER_BUDGET_H
#define ASYA_SERVER_BUDGET_H

#include "server/conn.h"

enum { BUDGET_FREE = 16384 }; /* bytes of a request that may arrive whatever the others hold */

/* The slow path of budget_count. */
void budget_recount(struct conn *conn);

/* What `conn` holds, or whether it is being read, has changed. */
static inline void budget_count(struct conn *conn)
{
    if ((conn->in.capacity | conn->out.capacity | conn->counted) != 0) {
        budget_recount(conn);
    }
}

/* Bytes that may be read at once of a request of which nothing has arrived. */
static inline size_t budget_first_read(const struct conn_host *host)
{
    return host->max_held == 0 || host->held <= host->max_held ? (size_t)SCRATCH_SIZE : BUDGET_FREE;
}

/* For how many more bytes room may be made in conn->in, `wanted` at most; 0: none, it is to pause. */
size_t budget_admit(const struct conn *conn, size_t wanted);

/* It is not read on until the budget allows it. Its client's end is noticed. */
void budget_pause(struct conn *conn);

/* `got` bytes have come. */
void budget_note_progress(struct conn *conn, size_t got);

/* Reads on where that is allowed by now, and makes those give way who keep others from it. Returns when it is to be
 * called again; CLOCK_NEVER while nobody is paused. */
uint64_t budget_tend(struct conn_host *host, uint64_t now);

#endif
