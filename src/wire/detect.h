/*
 * Which protocol does a client speak? Its first byte says (docs/protocol.md): a capital letter begins an
 * HTTP method, 0x00 to 0x08 the length of a frame, and everything else is bare JSON or nothing. Pure.
 */
#ifndef ASYA_WIRE_DETECT_H
#define ASYA_WIRE_DETECT_H

#include "wire/protocol.h"

#include <stddef.h>

/* The largest ASYA_MAX_MESSAGE_SIZE; base/options.c refuses more. The length prefix of a larger message would begin
 * with 0x09, which is a tab and so looks like JSON. */
#define DETECT_AUTO_LIMIT ((size_t)0x08FFFFFF)

/* The protocol of a connection whose first byte is `first`; `choice` (ASYA_PROTOCOL) unless that is PROTOCOL_AUTO. */
enum protocol detect(enum protocol choice, unsigned char first);

#endif
