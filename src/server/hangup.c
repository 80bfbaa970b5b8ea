#include "server/hangup.h"

#include "base/fd.h"
#include "server/rights.h"

#include <errno.h>
#include <sys/socket.h>

enum { DISCARD_SIZE = 16384 };

ssize_t hangup_discard(int connection)
{
    static unsigned char waste[DISCARD_SIZE]; /* never read */
    struct iovec part = {.iov_base = waste, .iov_len = sizeof waste};
    return rights_receive(connection, &part, 1);
}

int hangup(int *connection)
{
    /* ENOTCONN (a socket that was never connected) is the only error that a client's connection can have here */
    int status = shutdown(*connection, SHUT_RDWR) == 0 || errno == ENOTCONN ? 0 : -errno;
    ssize_t got = 0;
    do {
        got = status == 0 ? hangup_discard(*connection) : 0;
    } while (got > 0 || (got < 0 && errno == EINTR));
    fd_close(connection);
    return status;
}

/* shutdown(SHUT_RD) of a Unix socket makes later sends of the client fail, and leaves what it has sent: so no request
 * is discarded after the look. */
bool hangup_if_idle(int *connection)
{
    char byte;
    (void)shutdown(*connection, SHUT_RD);
    if (recv(*connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
        return false;
    }
    (void)hangup(connection);
    return true;
}
