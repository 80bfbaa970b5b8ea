/*
 * Makes room for one more connection: chooses which connection is closed ("gives way") when the worker has no free slot
 * or descriptor left.
 *
 * A silent client costs next to nothing as long as the worker can hold more. When it cannot, a new client would have to
 * wait up to ASYA_READ_TIMEOUT, even for /healthz. So the oldest connection of the first of these kinds gives way:
 *
 *   idle      kept alive after a reply, and nothing has arrived since: closed, since its client may connect again
 *   silent    connected for 250 ms, and nothing has arrived
 *   slow      its request has been arriving for a second
 *
 * Silent and slow clients get connection_error with the reason (408 in HTTP). A connection whose request is complete
 * does not give way, and neither does one that has sent bytes which were not read yet. But after two seconds a slow one
 * does even so: otherwise a client could stay by sending a byte now and then.
 */
#ifndef ASYA_SERVER_ROOM_H
#define ASYA_SERVER_ROOM_H

#include "server/conn.h"

/* The connection that would give way now; NULL: none. */
struct conn *room_find(const struct conn_host *host, uint64_t now);

/* The error for its client (connection_error). Not for idle connections. */
void room_describe(const struct conn *conn, struct error *ret_err);

#endif
