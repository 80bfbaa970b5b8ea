/* Replies and streams as bytes on a connection: at once as far as the client takes them, the rest as it reads. */
#ifndef ASYA_SERVER_OUTPUT_H
#define ASYA_SERVER_OUTPUT_H

#include "server/conn.h"

enum output_step {
    OUTPUT_SENT,    /* all of it */
    OUTPUT_WAITING, /* the client has to read first */
    OUTPUT_FAILED,  /* the client is gone; nothing was logged or closed */
};

/* Sends conn->head and `body` from conn->sent on, after which the connection is conn->then. */
enum output_step output_push(struct conn *conn, struct view body);

/* Sends conn->head and `body` as the whole reply, then goes on with conn_finish(). What the client does not take now is
 * kept: then the bytes are moved out of `body`. */
void output_reply(struct conn *conn, struct buffer *body);

/* Likewise for a few bytes, head included, that a client takes at once or never. */
void output_small(struct conn *conn, struct view bytes);

/* Sends what is pending of a stream, conn->out. While the service has it, it fails where the supervisor has ended the
 * stream meanwhile. */
enum output_step output_stream(struct conn *conn);

/* Says that the client has not read in time. */
void output_log_unread(const struct conn *conn);

/* The client can take more of a reply or stream that waits. */
void output_resume(struct conn *conn);

#endif
