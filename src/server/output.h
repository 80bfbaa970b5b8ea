/* Replies and streams as bytes on a connection, as far as the client takes them now. */
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

/* Sends what is pending of a reply or stream, conn->out. While the service has a stream, it fails where the supervisor
 * has ended it meanwhile. */
enum output_step output_resume(struct conn *conn);

/* Says that the client has not read in time. */
void output_log_unread(const struct conn *conn);

#endif
