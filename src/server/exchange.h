/*
 * An exchange is one request and its reply, when the reply comes later or is a stream.
 *
 * These functions are for the service: after answer() has returned SERVICE_LATER, or while answer() runs, it may reply
 * later or stream (HTTP only). The request is named by its connection, which stays valid until exchange_reply() or
 * exchange_stream_end(). To be called only from the thread that runs the server. Nothing waits here except
 * exchange_flush().
 */
#ifndef ASYA_SERVER_EXCHANGE_H
#define ASYA_SERVER_EXCHANGE_H

#include "base/error.h"
#include "server/record.h"
#include "server/service.h"

#include <stddef.h>

/* Sends the reply and ends the exchange; takes over the body. Discards it if the supervisor has answered already or the
 * client is gone. */
void exchange_reply(struct conn *conn, struct reply *reply);

/* For the metrics (tally.h), from the thread that runs the function: it is called now; it has returned. */
void exchange_called(struct conn *conn);
void exchange_returned(struct conn *conn);

/* Likewise: its reply, or the last events of its stream, will be an error of this category, and of a class of
 * exceptions or "". One thread at a time: with the GIL. */
void exchange_fail(struct conn *conn, enum error_category category, struct view type);

/* The request has failed, by itself or by the function: what is recorded of it is kept (record.h). Writes the name of
 * that file; "" if there is none. From the thread that runs the function. */
void exchange_keep_record(struct conn *conn, char name[RECORD_NAME_SIZE]);

/* A pointer that belongs to the service, NULL at first. */
void exchange_set_data(struct conn *conn, void *data);
void *exchange_data(const struct conn *conn);

/* Nobody waits for this reply any more: the client has closed the connection or was too slow to read, or the supervisor
 * has answered. */
bool exchange_is_gone(struct conn *conn);

/* Begins a stream of server-sent events (docs/protocol.md). False if that is not possible: the protocol is not HTTP, or
 * the client is gone. */
bool exchange_stream(struct conn *conn);

/* Sends `event: NAME\ndata: JSON\n\n` at once, as one chunk; what the client does not take now is kept. False if the
 * client is gone or there was no memory: nothing more can be sent, and the service must end the stream as
 * incomplete. */
bool exchange_event(struct conn *conn, struct view name, struct view json);

/* Bytes of the stream that the client has not taken yet. */
size_t exchange_pending(const struct conn *conn);

/* Waits until the client has taken all pending bytes, or a signal arrives: then some are still pending, and the caller
 * handles the signal. False if the client is gone or its time is over. For functions that run on the server's thread;
 * release the GIL around it.
 *
 * All times in which a stream waits for its client, here or between events, add up. When the sum reaches
 * ASYA_WRITE_TIMEOUT, the client counts as gone. */
bool exchange_flush(struct conn *conn);

/* Ends the stream and the exchange. If it is not complete, the client can see that it was cut. */
void exchange_stream_end(struct conn *conn, bool complete);

#endif
