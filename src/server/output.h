/* Sends replies and streams on a connection, as far as the client takes them now. */
#ifndef ASYA_SERVER_OUTPUT_H
#define ASYA_SERVER_OUTPUT_H

#include "server/conn.h"

enum output_step {
    OUTPUT_SENT,    /* all of it */
    OUTPUT_WAITING, /* the client has to read before more can be sent */
    OUTPUT_FAILED,  /* the client is gone; nothing was logged or closed */
};

/* Sends conn->head and `body`, beginning at conn->sent; once all is out, the connection is conn->then. */
enum output_step output_push(struct conn *conn, struct view body);

/* Sends what is pending of a reply or stream in conn->out. Fails if the service has a stream that the supervisor has
 * ended in the meantime. */
enum output_step output_resume(struct conn *conn);

/* Logs that the client has not read its reply in time. */
void output_log_unread(const struct conn *conn);

#endif
