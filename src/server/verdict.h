/* The result of reading from a connection: intake.c and http.c return it, and dispatch.c acts on it. */
#ifndef ASYA_SERVER_VERDICT_H
#define ASYA_SERVER_VERDICT_H

#include "base/error.h"

#include <stddef.h>

enum verdict {
    VERDICT_MORE,    /* the request is not complete, and there may be more to read */
    VERDICT_WAIT,    /* not complete, and nothing more to read now */
    VERDICT_PAUSE,   /* not complete, and there is no memory to read more now */
    VERDICT_REQUEST, /* a whole request for the service */
    VERDICT_FIXED,   /* a request with a fixed reply, such as GET /healthz */
    VERDICT_REFUSED, /* not a valid request: the client gets the error */
    VERDICT_GONE,    /* close the connection: its client is gone, or the supervisor has taken it */
};

struct verdict_details {
    /* REQUEST, FIXED: the request with its HTTP head or length prefix, and all that has arrived behind it, in the
     * scratch buffer or in conn->in. Valid until the next read of any connection. conn->body_at, body_size and
     * request_end say where its parts are. */
    unsigned char *message;
    size_t size;
    unsigned status;   /* FIXED, REFUSED: the HTTP status; 0: that of the error's category */
    const char *allow; /* FIXED: value of the header Allow, or NULL */
    const char *body;  /* FIXED: the JSON text of the reply */
    struct error err;  /* REFUSED */
};

#endif
