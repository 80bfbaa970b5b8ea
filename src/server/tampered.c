#include "server/tampered.h"

#include "server/unstored.h"

#include <unistd.h>

void tampered_begin(struct tampered *tampered, struct scoreboard *board, int listener, int fdholder,
                    enum protocol protocol)
{
    *tampered = (struct tampered){.board = board, .fdholder = fdholder, .protocol = protocol};
    if (fdholder >= 0 && fd_stat(fdholder, &tampered->identity) < 0) {
        tampered->fdholder = -1; /* the module closed it while it was loaded */
    }
    if (table_name_of(listener, &tampered->listener) < 0) {
        tampered->listener.size = 0; /* matches no connection */
    }
}

void tampered_see_first(struct tampered *tampered, int fd)
{
    struct table_name found;
    tampered->has_seen_one = true;
    if (table_name_of(fd, &found) == 0 && found.size <= sizeof found.address.sun_family) {
        tampered->listener.size = 0;
    }
}

/* Whether the fdholder can still be asked after our end: then it gives the connections to the supervisor. */
static bool tampered_has_fdholder(const struct tampered *tampered)
{
    struct file_identity found;
    return tampered->fdholder >= 0 && fd_stat(tampered->fdholder, &found) == 0 &&
           file_identity_equal(&found, &tampered->identity);
}

void tampered_end(const struct tampered *tampered)
{
    if (tampered->board != NULL && !tampered_has_fdholder(tampered)) {
        unstored_answer(&(struct unstored){
            .board = tampered->board,
            .listener = tampered->listener,
            .protocol = tampered->protocol,
            .unread = "the worker ends, since the function closed or replaced descriptors of the runtime; this request "
                      "was not run, send it again",
            .running = "the worker process gave up: the function closed or replaced descriptors of the runtime while "
                       "it served this request"});
    }
    scoreboard_note_exit(tampered->board, EXIT_TAMPERED);
    _exit(EXIT_TAMPERED);
}
