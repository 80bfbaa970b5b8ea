/*
 * Sends frames as server-sent events while the function still runs (docs/protocol.md). Only one event is under way at a
 * time: the generator continues when the client has taken the last event, so a slow client slows the function down and
 * no events accumulate.
 *
 * Needs the GIL, and releases it where it waits.
 */
#ifndef ASYA_PYTHON_STREAM_H
#define ASYA_PYTHON_STREAM_H

#include "python/call.h"

/* The main thread, within service->answer(). */
extern const struct runner stream_inline;

/* Begins the stream. False if the client is gone. */
bool stream_begin(struct call *call);

/* Sends the event NAME with the content of `json`, which is emptied. Unless it says SENT_GONE, call->gone is false. */
enum sent stream_send(struct call *call, const char *name, struct buffer *json);

/* Sends `done`, unless the client is gone. */
void stream_end(struct call *call);

/* For runners whose calls run in the thread of the server: their open(), and a send() that never waits. */
bool stream_open_here(struct call *call);
enum sent stream_send_here(struct call *call, struct view name, struct view json);

#endif
