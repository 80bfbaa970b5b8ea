/* From a connection's bytes to its requests, in whichever protocol the client speaks. */
#ifndef ASYA_SERVER_INTAKE_H
#define ASYA_SERVER_INTAKE_H

#include "server/conn.h"

/* The state before the first byte of a connection, or of its next request. */
void intake_begin(struct conn *conn);

/* `message` holds `size` bytes, of which the request ends at conn->request_end. If it is the scratch buffer, what
 * follows is kept in conn->in. */
void intake_keep_rest(struct conn *conn, const unsigned char *message, size_t size);

/* Reads, and serves what is complete, until nothing more has arrived or the connection is in another state. */
void intake_run(struct conn *conn);

/* The time a message that cannot be JSON has to end is over: judges what is there. */
void intake_judge(struct conn *conn);

#endif
