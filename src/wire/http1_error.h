/* Why an HTTP request is refused: the status of the reply, and a text for people. The connection must be closed after
 * that reply, since it is not known where the next request would begin. */
#ifndef ASYA_WIRE_HTTP1_ERROR_H
#define ASYA_WIRE_HTTP1_ERROR_H

#include "wire/step.h"

#include <stddef.h>

struct http1_error {
    unsigned status;  /* 400, 413, 417 or 505 */
    size_t offset;    /* byte of the head, or of the encoded body, the text is about */
    const char *text; /* static storage, ASCII */
};

/* Fills `err`. Returns WIRE_BAD, so that a failing parser can end with `return http1_refuse(...)`. */
static inline enum wire_step http1_refuse(struct http1_error *err, unsigned status, size_t offset, const char *text)
{
    *err = (struct http1_error){.status = status, .offset = offset, .text = text};
    return WIRE_BAD;
}

#endif
