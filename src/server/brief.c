#include "server/brief.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

void brief_enlarge(int connection)
{
    static const int largest = INT_MAX; /* the kernel cuts it to net.core.wmem_max */
    (void)setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &largest, sizeof largest);
}

bool brief_send(int connection, const void *bytes, size_t size)
{
    const char *at = bytes;
    bool is_enlarged = false;
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(connection, at + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            done += (size_t)sent;
        } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !is_enlarged) {
            is_enlarged = true;
            brief_enlarge(connection);
        } else if (sent == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}
