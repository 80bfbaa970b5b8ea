/* A glance at a connection nobody has read from: what it asks for, without taking a byte from it. */
#ifndef ASYA_SERVER_GLANCE_H
#define ASYA_SERVER_GLANCE_H

#include "wire/protocol.h"

enum glance {
    GLANCE_SILENT,  /* not enough has arrived to tell */
    GLANCE_HEALTH,  /* GET or HEAD /healthz, the whole head */
    GLANCE_REQUEST, /* anything else, its end included: for a worker */
};

/* `protocol` is ASYA_PROTOCOL. */
enum glance glance_at(int connection, enum protocol protocol);

/* The protocol its first byte tells, or `protocol` where that is fixed or nothing has arrived. */
enum protocol glance_protocol(int connection, enum protocol protocol);

#endif
