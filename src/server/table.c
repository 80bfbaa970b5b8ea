#include "server/table.h"

#include "server/numbers.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { LOOK_AT_ONCE = 64 }; /* numbers asked about in one poll() */

int table_name_of(int listener, struct table_name *ret_name)
{
    ret_name->size = sizeof ret_name->address;
    return getsockname(listener, (struct sockaddr *)&ret_name->address, &ret_name->size) == 0 ? 0 : -errno;
}

bool table_is_ours(int fd, const struct table_name *name)
{
    struct table_name found;
    if (table_name_of(fd, &found) < 0 || found.size != name->size ||
        memcmp(&found.address, &name->address, found.size) != 0) {
        return false;
    }
    int listening = 1;
    socklen_t size = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening == 0;
}

/* One poll() tells for many numbers whether they have a file, and works without /proc. If poll() fails (it does when
 * RLIMIT_NOFILE is below the count), each number is tried. */
void table_search(const struct table_name *name, int gap_max, bool (*found)(void *context, int fd), void *context)
{
    int gap = 0;
    for (int first = 0; first < NUMBERS_MAX && gap < gap_max; first += LOOK_AT_ONCE) {
        struct pollfd look[LOOK_AT_ONCE];
        for (int i = 0; i < LOOK_AT_ONCE; i++) {
            look[i] = (struct pollfd){.fd = first + i};
        }
        bool known = poll(look, LOOK_AT_ONCE, 0) >= 0;
        gap += known ? 0 : LOOK_AT_ONCE;
        for (int i = 0; i < LOOK_AT_ONCE; i++) {
            bool absent = known && (look[i].revents & POLLNVAL) != 0;
            gap = absent ? gap + 1 : known ? 0 : gap;
            if (!absent && table_is_ours(first + i, name) && !found(context, first + i)) {
                return;
            }
        }
    }
}
