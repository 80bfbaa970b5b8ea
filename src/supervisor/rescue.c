#include "supervisor/rescue.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/control.h"
#include "server/park.h"
#include "wire/reply.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
    REPLY_SIZE = 6 * (ERROR_TEXT_SIZE + ERROR_TYPE_SIZE) + 128, /* every byte escaped, and the frame around it */
    DISCARD_ROUNDS = 64, /* reads of a client's unread bytes before its connection is closed */
};

/* Writes the reply and closes. Nothing here waits: a fresh connection's buffer takes a reply of this size. */
void rescue_answer(int connection, const struct error *err)
{
    unsigned char bytes[REPLY_SIZE];
    struct buffer out = {.data = bytes, .capacity = sizeof bytes, .limit = sizeof bytes}; /* never grows: no malloc */
    if (reply_error(&out, err->category, view_of(err->text), view_of(err->type)) != BUFFER_OK ||
        send(connection, out.data, out.size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)out.size) {
        log_warning("server_error: a reply could not be sent: %s", strerror(errno));
    }
    /* closing with unread input would take the reply away from a client that is still writing */
    shutdown(connection, SHUT_WR);
    for (int i = 0; i < DISCARD_ROUNDS && recv(connection, bytes, sizeof bytes, MSG_DONTWAIT) > 0; i++) {
    }
    fd_close(&connection);
}

bool orphans_add(struct orphans *orphans, int connection, uint64_t now)
{
    if (orphans->count == ORPHANS_MAX) {
        return false;
    }
    orphans->fds[orphans->count] = connection;
    orphans->since[orphans->count++] = now;
    return true;
}

/* Forgets the first `gone` orphans. */
static void orphans_shift(struct orphans *orphans, uint32_t gone)
{
    memmove(orphans->fds, orphans->fds + gone, (orphans->count - gone) * sizeof orphans->fds[0]);
    memmove(orphans->since, orphans->since + gone, (orphans->count - gone) * sizeof orphans->since[0]);
    orphans->count -= gone;
}

void orphans_expire(struct orphans *orphans, uint64_t before, const struct error *err)
{
    uint32_t expired = 0;
    while (expired < orphans->count && orphans->since[expired] < before) {
        rescue_answer(orphans->fds[expired++], err);
    }
    orphans_shift(orphans, expired);
}

struct rescued rescue_slots(const int *receive_ends, uint32_t count, const struct status_page *page,
                            struct orphans *orphans, const struct error *err)
{
    struct rescued rescued = {0};
    uint64_t now = clock_now();
    struct error partial;
    error_set(&partial, ERR_SERVER, 0,
              "the worker died while this request was still arriving; it was not run, send it again");
    for (uint32_t i = 0; i < count && i < SLOTS_MAX; i++) {
        FD_SCOPED int connection = park_take(receive_ends[i]);
        if (connection < 0) {
            continue;
        }
        switch (atomic_load_explicit(&page->slots[i].state, memory_order_acquire)) {
        case SLOT_FREE: /* parked, and killed before it could say so */
        case SLOT_WAITING:
            if (orphans_add(orphans, connection, now)) {
                connection = -1;
                rescued.handed_on++;
            } else {
                rescue_answer(fd_take(&connection), &partial);
                rescued.partial++;
            }
            break;
        case SLOT_READING:
            rescue_answer(fd_take(&connection), &partial);
            rescued.partial++;
            break;
        case SLOT_REPLYING:
            break;
        default: /* SLOT_RUNNING, or a page that was overwritten: one reply too many beats none */
            rescue_answer(fd_take(&connection), err);
            rescued.answered++;
            break;
        }
    }
    return rescued;
}

void rescue_hand_on(struct orphans *orphans, int control)
{
    uint32_t sent = 0;
    while (sent < orphans->count && control_send(control, CONTROL_CONNECTION, &orphans->fds[sent], 1) == 0) {
        fd_close(&orphans->fds[sent]);
        sent++;
    }
    orphans_shift(orphans, sent);
}

void rescue_dismiss(struct orphans *orphans, const struct listener *listener, const struct error *err)
{
    while (orphans->count > 0) {
        orphans->count--;
        rescue_answer(orphans->fds[orphans->count], err);
    }
    int connection;
    while (listener->fd >= 0 && (connection = listener_accept(listener)) >= 0) {
        rescue_answer(connection, err);
    }
}
