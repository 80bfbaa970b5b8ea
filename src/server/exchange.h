/*
 * What a service may do with a request after answer() has returned SERVICE_LATER, or while answer() runs: reply later,
 * or stream (HTTP only). The request is named by its connection, which stays valid until exchange_reply() or
 * exchange_stream_end(). Only from the thread that runs the server; nothing here waits but exchange_flush().
 */
#ifndef ASYA_SERVER_EXCHANGE_H
#define ASYA_SERVER_EXCHANGE_H

#include "server/service.h"

#include <stddef.h>

/* Sends the reply and ends the exchange; takes over the body. Drops it where the supervisor has answered already or the
 * client is gone. */
void exchange_reply(struct conn *conn, struct reply *reply);

/* A pointer of the service's own, NULL at first. */
void exchange_set_data(struct conn *conn, void *data);
void *exchange_data(const struct conn *conn);

/* Nobody waits for this reply any more: the client has closed altogether, its time to read was over, or the supervisor
 * has answered. */
bool exchange_is_gone(struct conn *conn);

/* Begins a stream of server-sent events (docs/protocol.md). False where the client cannot have one: another
 * protocol, or gone. */
bool exchange_stream(struct conn *conn);

/* Sends `event: NAME\ndata: JSON\n\n` at once, as one chunk; what the client does not take now is kept. False if the
 * client is gone or there was no memory: nothing more can be sent, the stream is to be ended as incomplete. */
bool exchange_event(struct conn *conn, struct view name, struct view json);

/* Bytes of the stream the client has not taken yet. */
size_t exchange_pending(const struct conn *conn);

/* The times in which a stream waits for its client, here or between events, add up: when they have come to
 * ASYA_WRITE_TIMEOUT the client counts as gone.
 *
 * Waits until the client has taken all of them, or a signal comes: then bytes are pending still, and the caller looks
 * what it was. False if the client is gone or its time to read is over. For functions that run on the server's thread;
 * release the GIL around it. */
bool exchange_flush(struct conn *conn);

/* Ends the stream and the exchange. Incomplete: the client sees that it was cut. */
void exchange_stream_end(struct conn *conn, bool complete);

#endif
