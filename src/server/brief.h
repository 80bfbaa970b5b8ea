/*
 * Short messages that are sent without waiting: a reply in a dead worker's place, a refusal, the reply to a health
 * request, "100 Continue".
 *
 * A full send buffer does not mean that the client is gone. On a kept connection or in a stream it holds earlier
 * replies that the client has not read yet, but may read at any moment. So the buffer is enlarged, as far as the system
 * allows (net.core.wmem_max), which is twice the usual size. A worker's other replies wait for the client instead
 * (dispatch.c), except the reply to a client that is closed to make room: its slot is needed now.
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
