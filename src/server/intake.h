/* From a connection's bytes to its requests, in whichever protocol the client speaks. */
#ifndef ASYA_SERVER_INTAKE_H
#define ASYA_SERVER_INTAKE_H

#include "server/conn.h"
#include "server/verdict.h"

/* The state before the first byte of a connection, or of its next request. */
void intake_begin(struct conn *conn);

/* Reads until there is something to do: never MORE. Small requests stay in the scratch buffer, without an allocation.
 */
enum verdict intake_next(struct conn *conn, struct verdict_details *ret_details);

/* The time a message that cannot be JSON has to end is over: REFUSED, or WAIT. */
enum verdict intake_judge(struct conn *conn, struct verdict_details *ret_details);

/* After REQUEST and FIXED: what stands behind the request (conn->request_end), if it is in the scratch buffer, is kept
 * in conn->in for the next one. */
void intake_keep_rest(struct conn *conn, const struct verdict_details *details);

#endif
