/* The protocols one socket speaks, told apart by the first byte (docs/protocol.md). */
#ifndef ASYA_WIRE_PROTOCOL_H
#define ASYA_WIRE_PROTOCOL_H

enum protocol {
    PROTOCOL_AUTO,   /* not known yet */
    PROTOCOL_RAW,    /* bare JSON */
    PROTOCOL_FRAMED, /* four bytes of length, big-endian, and JSON */
    PROTOCOL_HTTP,   /* HTTP/1.1 */
};

#endif
