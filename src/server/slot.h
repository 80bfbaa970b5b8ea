/*
 * A connection's place on the scoreboard and in the fdstore entries, as the worker sees it.
 *
 * Whatever the moment of a death, the supervisor finds each connection in the state it was in:
 *
 *   accept -> slot_enter -> slot_claim -> read -> slot_run -> slot_leave -> send -> close -> slot_vacate
 *   unread   WAITING       READING               RUNNING     REPLYING             \          FREE
 *               ^                                                                  slot_renew
 *               +--- or READING, where a part of the next request is here already ------+
 *
 * A state says what is about to be done. Between it and the next one it is the kernel that says how far that has come:
 * whether a byte was read (scoreboard_first), and how much was sent (outlet.h).
 */
#ifndef ASYA_SERVER_SLOT_H
#define ASYA_SERVER_SLOT_H

#include "server/conn.h"

/* All slots are free, the lowest are taken first. */
void slot_reset(struct conn_host *host);

/* The next connection would have a slot to be in but none to be stored in: more should be made. */
bool slot_is_short(const struct conn_host *host);

/* Takes a free slot, state WAITING. It is stored with the next slot_store(), or at once if a function runs. */
void slot_enter(struct conn *conn);

/* Stores duplicates of all that have entered since. Where that fails a connection is served unstored: then it survives
 * the worker with the fdholder's help, but not the function closing its descriptor. */
void slot_store(struct conn_host *host);

bool slot_is_stored(const struct conn *conn);

/* After the connection is closed: the slot is free, and empty once all that were stored together are closed. In this
 * order a connection in the table that has no slot is one nobody has read from. */
void slot_vacate(struct conn *conn);

/* Before the first byte of a request is read, and before an unread connection is answered or closed: false if the
 * supervisor has taken it back meanwhile. */
bool slot_claim(const struct conn *conn);

void slot_set(const struct conn *conn, enum slot_state state);

/* Reads as recv() without waiting. The kernel writes the first byte of a request, whose first read is into the scratch
 * buffer, where the supervisor sees it: that it was taken, and on a new connection the protocol, with it the form of a
 * reply, is known even if the process comes to nothing more. */
ssize_t slot_receive(const struct conn *conn, unsigned char *bytes, size_t size);

/* The client's protocol is known: the form in which the supervisor would answer. */
void slot_set_protocol(const struct conn *conn);

/* A request was answered and another may follow: READING if `first`, its first byte, is here already, else WAITING. */
void slot_renew(const struct conn *conn, const unsigned char *first);

/* A reply of our own begins: REPLYING. */
void slot_reply(const struct conn *conn);

/* The function is called now: writes since and sequence, then RUNNING. Returns the slot for the request, or NULL. */
struct scoreboard_slot *slot_run(const struct conn *conn);

/* From RUNNING or STREAMING to `state`, REPLYING or PUSHING. False if the supervisor has answered or ended it in the
 * meantime: then nothing may be sent. */
bool slot_leave(const struct conn *conn, enum slot_state state);

/* How a stream begins: its client knows chunks, or does not. */
void slot_set_chunked(const struct conn *conn, bool chunked);

/* The supervisor has answered the request, or ended its stream. */
bool slot_is_answered(const struct conn *conn);

#endif
