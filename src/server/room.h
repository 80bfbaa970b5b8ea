/*
 * Room for one more connection: who gives way when a worker's places or descriptors have run out.
 *
 * A client that says nothing costs next to nothing, until there are as many as a worker can hold: then whoever comes
 * would wait for ASYA_READ_TIMEOUT, its request for health too. So the oldest gives way to who comes, in this order:
 *
 *   idle      kept alive after a reply, nothing has come since: closed, since its client may connect again
 *   silent    connected for 250 ms, and nothing has come
 *   slow      its request has been arriving for a second
 *
 * The latter two get connection_error with the reason (in HTTP 408). Nobody gives way whose request is complete, or who
 * has sent what was not read yet; but who sends a byte now and then gives way after another second.
 */
#ifndef ASYA_SERVER_ROOM_H
#define ASYA_SERVER_ROOM_H

#include "server/conn.h"

/* Who would give way now; NULL: nobody. */
struct conn *room_find(const struct conn_host *host, uint64_t now);

/* What it is told unless it is idle (connection_error). */
void room_describe(const struct conn *conn, struct error *ret_err);

#endif
