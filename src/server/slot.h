/* A connection's place in the parking slots and on the status page, as the worker sees it. */
#ifndef ASYA_SERVER_SLOT_H
#define ASYA_SERVER_SLOT_H

#include "server/conn.h"

/* Parks a duplicate in a free slot, state WAITING. Without slots, or where that fails, the connection is served
 * unparked. */
void slot_park(struct conn *conn);

/* Empties and frees the slot. After the connection is closed: a descriptor that is open and not parked belongs to a
 * connection nobody has read from. */
void slot_unpark(struct conn *conn);

/* Before the first byte of a request is read: false if the supervisor has taken the connection back meanwhile. */
bool slot_claim(const struct conn *conn);

void slot_set(const struct conn *conn, enum slot_state state);

/* The function is called now: writes since and sequence, then RUNNING. Returns the slot for the request, or NULL. */
struct status_slot *slot_run(const struct conn *conn);

/* From RUNNING or STREAMING to `state`. False if the supervisor has answered or cut it in the meantime: then nothing
 * may be sent. */
bool slot_leave(const struct conn *conn, enum slot_state state);

/* The supervisor has answered the request, or cut its stream. */
bool slot_is_answered(const struct conn *conn);

#endif
