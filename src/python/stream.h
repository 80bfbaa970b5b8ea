/*
 * Frames as server-sent events while the function still runs (wire contract, section 3). One event is on its way at a
 * time: the next frame is asked for when the client has taken the last one, so a slow client slows the function down
 * and nothing piles up.
 *
 * Needs the GIL, and releases it where it waits.
 */
#ifndef ASYA_PYTHON_STREAM_H
#define ASYA_PYTHON_STREAM_H

#include "python/call.h"

enum sent {
    SENT,
    SENT_PENDING, /* a task's event that the client has not taken yet: it waits by itself (call->waiter) */
    SENT_GONE,    /* nobody reads any more: call->gone */
    SENT_RAISED,  /* a cancellation while it waited: the exception is set */
};

/* Begins the stream. False if the client is gone. */
bool stream_begin(struct call *call);

/* Sends the event NAME with the content of `json`, which is emptied. */
enum sent stream_send(struct call *call, const char *name, struct buffer *json);

/* Sends `done`, unless the client is gone. */
void stream_end(struct call *call);

#endif
