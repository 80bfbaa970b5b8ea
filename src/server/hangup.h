/*
 * The end of a client's connection. Every connection is closed here, in the worker and in the supervisor.
 *
 * What arrives after the reply was made is discarded, and must never turn the reply into a reset (docs/protocol.md). If
 * a Unix socket is closed while it holds unread bytes, the kernel reports ECONNRESET to the client behind the reply,
 * and most clients then discard what they have read. So hangup() first shuts the connection down, so that nothing more
 * can arrive, then reads what has arrived, and then closes it. It reads into a buffer of its own: the worker's scratch
 * buffer may hold the message that a function is working on.
 *
 * A copy of a connection that another process serves, or will serve, is closed by fd_close() instead: that does not end
 * the connection, and no byte may be taken from it.
 */
#ifndef ASYA_SERVER_HANGUP_H
#define ASYA_SERVER_HANGUP_H

#include <stdbool.h>
#include <sys/types.h>

/* Ends *connection for its client, even if a child of the function has a copy; closes it and sets it to -1. Never
 * waits; reads what the client has sent, which is bounded by the socket's buffer. Returns 0, or -errno if the
 * descriptor is not a connection (it is closed all the same). */
int hangup(int *connection);

/* For a kept connection whose client has its last reply: ends it if no next request has been sent. Returns true then.
 * False if there is one, which has to be answered; no other can follow it. */
bool hangup_if_idle(int *connection);

/* Reads once and discards what was read. Returns as recv() does, without waiting. */
ssize_t hangup_discard(int connection);

#endif
