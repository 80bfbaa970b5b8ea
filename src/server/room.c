#include "server/room.h"

#include "base/clock.h"

#include <errno.h>
#include <sys/socket.h>

#define SILENT_TIME (250 * CLOCK_MS)   /* for a client to send something, when others need its slot */
#define SLOW_TIME   (1 * CLOCK_SECOND) /* for a request to arrive, likewise; twice that if some of it is unread */

enum { LOOKS_MAX = 16 }; /* connections that one search checks for unread bytes; the next round reads those */

/* In the order in which they give way. */
enum room_class { ROOM_IDLE, ROOM_SILENT, ROOM_SLOW, ROOM_CLASSES };

static enum room_class room_class_of(const struct conn *conn)
{
    if (conn_is_idle(conn)) {
        return ROOM_IDLE;
    }
    return conn_is_unread(conn) ? ROOM_SILENT : ROOM_SLOW;
}

/* How long its request has been awaited; its list is in this order. Not for idle connections. */
static uint64_t room_age(const struct conn *conn, uint64_t now)
{
    uint64_t since = conn->deadline - conn->host->config->read_timeout;
    return now > since ? now - since : 0;
}

/* Whether its client has sent something, or its end, that nobody has read. Not with poll(), which fails if the function
 * has lowered RLIMIT_NOFILE. */
static bool room_has_unread(const struct conn *conn)
{
    char byte;
    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static bool room_gives_way(const struct conn *conn, enum room_class class, uint64_t now, uint32_t *looks)
{
    static const uint64_t times[ROOM_CLASSES] = {0, SILENT_TIME, SLOW_TIME};
    uint64_t age = room_age(conn, now);
    if (age < times[class]) {
        return false;
    }
    if (class == ROOM_SLOW && age >= 2 * SLOW_TIME) {
        return true;
    }
    if (*looks == LOOKS_MAX) {
        return false;
    }
    ++*looks;
    return !room_has_unread(conn);
}

struct conn *room_find(const struct conn_host *host, uint64_t now)
{
    struct conn *found = NULL;
    enum room_class best = ROOM_CLASSES;
    uint32_t looks = 0;
    for (struct conn *conn = conn_first_waiting(host); conn != NULL && best != ROOM_IDLE;
         conn = conn_next_waiting(conn)) {
        enum room_class class = room_class_of(conn);
        if (class < best && room_gives_way(conn, class, now, &looks)) {
            best = class;
            found = conn;
        }
    }
    return found;
}

void room_describe(const struct conn *conn, struct error *ret_err)
{
    error_set(ret_err, ERR_CONNECTION, 0,
              "the request was not complete after %llu ms, and others need its place: so many clients are connected "
              "that the oldest incomplete one gives way; %zu bytes arrived",
              (unsigned long long)(room_age(conn, clock_now()) / CLOCK_MS), conn->seen);
}
