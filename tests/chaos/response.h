/*
 * An HTTP response, read from a link: with Content-Length, chunked, or without a body (1xx, 204).
 */
#ifndef ASYA_CHAOS_RESPONSE_H
#define ASYA_CHAOS_RESPONSE_H

#include "link.h"

enum response_step {
    RESPONSE_WHOLE,
    RESPONSE_NOTHING,   /* not one byte */
    RESPONSE_PART,      /* a whole head, and part of the body */
    RESPONSE_PART_HEAD, /* not even that */
    RESPONSE_MALFORMED,
};

struct response {
    unsigned status;
    bool closes; /* it says so */
    bool is_chunked;
    size_t size;          /* of the body, without the chunks' frames */
    char body[LINK_ROOM]; /* as far as it came, and a NUL */
};

/* Takes the next response from the link. */
enum response_step response_read(struct link *link, struct response *ret_response);

#endif
