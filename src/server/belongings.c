#include "server/belongings.h"

#include "base/fd.h"
#include "server/table.h"

#include <unistd.h>

/* After so many numbers without a file the search ends. The fork waits for the search, and with this limit it adds
 * little to the 1 ms of a fork. A connection beyond such a gap is closed when the child ends. */
enum { GAP_MAX = 1 << 9 };

static bool belongings_close_connection(void *context, int fd)
{
    (void)context;
    fd_close(&fd);
    return true;
}

/* The memory may be in the middle of a change if another thread than the server's has forked. At most a number is
 * missed that was added or removed at this very moment. */
static void belongings_drop_fdstore(const struct fdstore *fdstore)
{
    for (uint32_t i = 0; i < fdstore->count && i < SLOTS_MAX; i++) {
        int ends[] = {fdstore->send[i], fdstore->receive[i]};
        fd_close(&ends[0]);
        fd_close(&ends[1]);
    }
}

void belongings_drop(struct belongings *belongings)
{
    struct table_name name;
    if (belongings->listener >= 0 && table_name_of(belongings->listener, &name) == 0) {
        table_search(&name, GAP_MAX, belongings_close_connection, NULL);
    }
    if (belongings->fdstore != NULL) {
        belongings_drop_fdstore(belongings->fdstore);
    }
    if (belongings->server != NULL) {
        server_leave(belongings->server);
    }
    fd_close(&belongings->listener);
    fd_close(&belongings->control);
    fd_close(&belongings->queue);
    fd_close(&belongings->fdholder);
    belongings->fdstore = NULL;
}
