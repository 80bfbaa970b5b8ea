/*
 * Short messages that nobody waits for: a reply in a dead worker's place, a refusal, what a health request is told,
 * "100 Continue".
 *
 * That the send buffer is full does not mean that the client is gone. On a kept connection or in a stream it holds
 * earlier replies that the client has not read yet, and may read in the next moment. So it is enlarged, as far as the
 * system allows (net.core.wmem_max), which is twice the usual size. Whoever can wait does that instead: a worker's
 * replies (dispatch.c), except that to a client that gives way, since its place is needed now.
 */
#ifndef ASYA_SERVER_BRIEF_H
#define ASYA_SERVER_BRIEF_H

#include <stdbool.h>
#include <stddef.h>

/* Sends all of it without waiting. False with errno: the client is gone, or the enlarged buffer is full, too. */
bool brief_send(int connection, const void *bytes, size_t size);

/* Makes room for a short message in a send buffer that is full. */
void brief_enlarge(int connection);

#endif
