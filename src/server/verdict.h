/* What has come of a connection's bytes, for dispatch.c, which acts on it. */
#ifndef ASYA_SERVER_VERDICT_H
#define ASYA_SERVER_VERDICT_H

#include "base/error.h"

#include <stddef.h>

enum verdict {
    VERDICT_MORE,    /* the request is not complete, and there may be more to read */
    VERDICT_WAIT,    /* all that has arrived is read */
    VERDICT_PAUSE,   /* there is no memory to read more */
    VERDICT_REQUEST, /* a whole request for the service */
    VERDICT_FIXED,   /* a request that is answered with a fixed body */
    VERDICT_REFUSED, /* no request can come of it */
    VERDICT_GONE,    /* nobody waits for an answer: the connection is to be closed */
};

struct verdict_details {
    /* REQUEST, FIXED: the request with all that stands before its body and all that has come behind it, in the scratch
     * buffer or in conn->in. Valid until the next read of any connection; conn->body_at, body_size and request_end say
     * what of it is what. */
    unsigned char *message;
    size_t size;
    unsigned status;   /* FIXED; REFUSED: HTTP status, 0 for that of the error's category */
    const char *allow; /* FIXED: the header of that name, or NULL */
    const char *body;  /* FIXED: JSON */
    struct error err;  /* REFUSED */
};

#endif
