/*
 * The yield protocol: what a generator may ask of the runtime (docs/protocol.md).
 *
 *   yield None                        nothing
 *   yield ("GET", path)               a deep copy of what the path names comes back
 *   yield ("SET", path, value)        .route.next, .headers and .status, and below
 *   yield ("DEL", path)
 *   yield ("FLY", value)              goes upstream at once
 *   yield anything else               a frame
 *
 * Any tuple of two or more items is a command over HTTP; elsewhere one that begins with none of the four verbs is a
 * frame: generators are older than the protocol. Needs the GIL.
 */
#ifndef ASYA_PYTHON_COMMAND_H
#define ASYA_PYTHON_COMMAND_H

#include "python/envelope.h"

enum command {
    COMMAND_NONE,   /* skip it */
    COMMAND_FRAME,  /* the item itself is the payload of a frame */
    COMMAND_FLY,    /* `*ret_value` (new reference) goes upstream */
    COMMAND_DONE,   /* carried out: `*ret_value` (new reference) is the answer */
    COMMAND_FAILED, /* the exception that is set is to be thrown into the generator */
};

enum command command_take(struct envelope *envelope, PyObject *item, PyObject **ret_value);

#endif
