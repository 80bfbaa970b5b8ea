#include "server/tampered.h"

#include "base/buffer.h"
#include "base/error.h"
#include "server/hangup.h"
#include "server/peek.h"
#include "wire/reply.h"

#include <sys/socket.h>
#include <unistd.h>

enum { GAP_MAX = 1 << 12 }; /* after so many numbers without a file, no further connection is expected */

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

/* Whether the fdholder can still be asked after our end: then it gives the connections to the supervisor. */
static bool tampered_has_fdholder(const struct tampered *tampered)
{
    struct file_identity found;
    return tampered->fdholder >= 0 && fd_stat(tampered->fdholder, &found) == 0 &&
           file_identity_equal(&found, &tampered->identity);
}

static bool tampered_is_unread(const struct scoreboard *board, const struct scoreboard_slot *slot)
{
    return slot == NULL || slot_state(slot) == SLOT_WAITING ||
           (slot_state(slot) == SLOT_READING && scoreboard_first(board, (uint32_t)(slot - board->slots)) == FIRST_NONE);
}

/* Kept alive, and the next request has not begun: its client expects no reply. */
static bool tampered_is_idle(const struct scoreboard_slot *slot, int fd)
{
    char byte;
    return slot != NULL && slot_state(slot) == SLOT_WAITING &&
           atomic_load_explicit(&slot->kept, memory_order_relaxed) != 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* What to tell the client of this slot; false if a reply has begun, or the supervisor has answered. */
static bool tampered_describe(const struct scoreboard *board, const struct scoreboard_slot *slot, struct error *err)
{
    if (tampered_is_unread(board, slot) || slot_state(slot) == SLOT_READING) {
        error_set(err, ERR_SERVER, 0,
                  "the worker ends, since the function closed or replaced descriptors of the runtime; this request "
                  "was not run, send it again");
        return true;
    }
    error_set_processing(err, "WorkerCrashed",
                         "the worker process gave up: the function closed or replaced descriptors of the runtime while "
                         "it served this request");
    return slot_state(slot) == SLOT_RUNNING;
}

/* Answers a connection of which the supervisor has no duplicate. */
static bool tampered_answer(void *context, int fd)
{
    const struct tampered *tampered = context;
    uint32_t number = scoreboard_find(tampered->board, fd);
    const struct scoreboard_slot *slot = number < SLOTS_MAX ? &tampered->board->slots[number] : NULL;
    struct error err;
    if (slot != NULL && atomic_load_explicit(&slot->stored, memory_order_relaxed) != 0) {
        return true;
    }
    if (!tampered_is_idle(slot, fd) && tampered_describe(tampered->board, slot, &err)) {
        unsigned char bytes[REPLY_FAILURE_SIZE];
        struct buffer out = buffer_fixed(bytes, sizeof bytes);
        enum protocol protocol = tampered_is_unread(tampered->board, slot)
                                     ? tampered->protocol
                                     : (enum protocol)atomic_load_explicit(&slot->protocol, memory_order_relaxed);
        if (reply_failure(&out, peek_protocol(fd, protocol), &err) == BUFFER_OK) {
            (void)send(fd, out.data, out.size, MSG_NOSIGNAL | MSG_DONTWAIT); /* fits into an empty send buffer */
        }
    }
    (void)hangup(&fd);
    return true;
}

void tampered_end(const struct tampered *tampered)
{
    if (tampered->board != NULL && !tampered_has_fdholder(tampered)) {
        struct tampered known = *tampered;
        table_search(&known.listener, GAP_MAX, tampered_answer, &known);
    }
    scoreboard_note_exit(tampered->board, EXIT_TAMPERED);
    _exit(EXIT_TAMPERED);
}
