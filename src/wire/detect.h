/*
 * Tells the protocol of a client by its first byte (docs/protocol.md): a capital letter begins an HTTP method, 0x00 to
 * 0x08 a length prefix; everything else is taken as bare JSON. Pure.
 */
#ifndef ASYA_WIRE_DETECT_H
#define ASYA_WIRE_DETECT_H

#include "wire/protocol.h"

#include <stddef.h>

/* The largest length that begins with 0x08. A larger one would begin with 0x09, which is a tab and so looks like JSON;
 * base/options.c allows no ASYA_MAX_MESSAGE_SIZE above it. */
#define DETECT_AUTO_LIMIT ((size_t)0x08FFFFFF)

/* The protocol of a connection whose first byte is `first`; `choice` (ASYA_PROTOCOL) unless that is PROTOCOL_AUTO. */
static inline enum protocol detect(enum protocol choice, unsigned char first)
{
    if (choice != PROTOCOL_AUTO) {
        return choice;
    }
    if (first >= 'A' && first <= 'Z') {
        return PROTOCOL_HTTP;
    }
    return first <= DETECT_AUTO_LIMIT >> 24 ? PROTOCOL_FRAMED : PROTOCOL_RAW;
}

#endif
