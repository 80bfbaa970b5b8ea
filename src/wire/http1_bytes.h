/* Which bytes may stand where in HTTP/1.1 (RFC 9110, section 5.6.2; RFC 3986, section 2; RFC 9112, section 3). Pure. */
#ifndef ASYA_WIRE_HTTP1_BYTES_H
#define ASYA_WIRE_HTTP1_BYTES_H

#include <stdbool.h>

enum {
    HTTP1_TEXT = 1,   /* anywhere in a line: no control characters but the tab; bytes above 0x7F are allowed */
    HTTP1_TOKEN = 2,  /* in a method or the name of a field */
    HTTP1_TARGET = 4, /* in a request target: the characters of a URI, without '#' */
    HTTP1_HOST = 8,   /* in the value of Host */
};

extern const unsigned char http1_bytes[256];

static inline bool http1_byte_is(unsigned char byte, unsigned char class) { return (http1_bytes[byte] & class) != 0; }

#endif
