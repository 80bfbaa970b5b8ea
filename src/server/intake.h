/* Turns the bytes of a connection into requests, in the protocol that its client speaks. Returns verdicts and acts on
 * nothing: that is left to dispatch.c. */
#ifndef ASYA_SERVER_INTAKE_H
#define ASYA_SERVER_INTAKE_H

#include "server/conn.h"
#include "server/verdict.h"

/* Prepares for the first byte of a connection, or of its next request. */
void intake_begin(struct conn *conn);

/* Reads until there is something to act on; never returns MORE. Small requests stay in the scratch buffer, without an
 * allocation. */
enum verdict intake_next(struct conn *conn, struct verdict_details *ret_details);

/* A message that cannot be JSON has had its second to end (REJECTING). Returns REFUSED, or WAIT. */
enum verdict intake_judge(struct conn *conn, struct verdict_details *ret_details);

/* To be called after REQUEST and FIXED. Bytes behind the request (from conn->request_end on) that lie in the scratch
 * buffer are copied to conn->in, for the next request. */
void intake_keep_rest(struct conn *conn, const struct verdict_details *details);

#endif
