/*
 * The end of a client's connection: the one way in which any of them is closed, in the worker and in the supervisor.
 *
 * What arrives after the reply has been made is discarded, and never turns the reply into a reset (docs/protocol.md).
 * Closing a Unix socket that holds unread bytes makes the kernel report ECONNRESET to the client behind
 * the reply, and most readers give up all they have read on any error. So nothing more is let in, what has come is
 * taken, and only then is it closed. The bytes go where no message ever lies: the worker's scratch buffer may hold the
 * one that a function is working on.
 *
 * A copy of a connection that somebody else serves, or will, is closed with fd_close(): it is not the end, and not one
 * byte may be taken from it.
 */
#ifndef ASYA_SERVER_HANGUP_H
#define ASYA_SERVER_HANGUP_H

#include <sys/types.h>

/* Ends *connection for the client, also where a child of the function holds a copy, closes it and sets it to -1. Never
 * waits; reads what the client has queued, which its socket's buffer bounds. Returns 0, or -errno if the descriptor is
 * no connection: then it is closed all the same. */
int hangup(int *connection);

/* One read of what a client sends, thrown away: returns as recv(), without waiting. */
ssize_t hangup_discard(int connection);

#endif
