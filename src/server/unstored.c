#include "server/unstored.h"

#include "base/buffer.h"
#include "base/error.h"
#include "server/brief.h"
#include "server/hangup.h"
#include "server/outlet.h"
#include "server/peek.h"
#include "wire/reply.h"

#include <sys/socket.h>

enum { GAP_MAX = 1 << 12 }; /* after so many numbers without a file, no further connection is expected */

/* What its client expects. */
enum unstored_expects { EXPECTS_NOTHING, EXPECTS_REQUEST, EXPECTS_REPLY };

static bool unstored_has_bytes(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* A reply was begun, or was about to be. */
static enum unstored_expects unstored_expects_rest(const struct scoreboard *board, uint32_t index, int fd)
{
    struct outlet_progress progress = outlet_progress(board, index);
    if (progress.left == 0 && progress.then == THEN_UNREAD) {
        return unstored_has_bytes(fd) ? EXPECTS_REQUEST : EXPECTS_NOTHING;
    }
    return progress.left == LEFT_ALL ? EXPECTS_REPLY : EXPECTS_NOTHING;
}

/* A connection that is kept alive expects no reply before it has sent the first byte of its next request. The bytes
 * that wait are looked at first: what another thread takes meanwhile is noted before it stops waiting. */
static bool unstored_is_idle(const struct scoreboard *board, uint32_t index, int fd)
{
    bool is_kept = atomic_load_explicit(&board->slots[index].kept, memory_order_relaxed) != 0;
    return is_kept && !unstored_has_bytes(fd) && scoreboard_first(board, index) == FIRST_NONE;
}

static enum unstored_expects unstored_expects(const struct scoreboard *board, uint32_t index, int fd)
{
    const struct scoreboard_slot *slot = index < SLOTS_MAX ? &board->slots[index] : NULL;
    switch (slot != NULL ? slot_state(slot) : SLOT_FREE) {
    case SLOT_FREE: /* accepted a moment ago */
        return EXPECTS_REQUEST;
    case SLOT_WAITING:
    case SLOT_READING:
        return unstored_is_idle(board, index, fd) ? EXPECTS_NOTHING : EXPECTS_REQUEST;
    case SLOT_RUNNING:
        return EXPECTS_REPLY;
    case SLOT_REPLYING:
    case SLOT_PUSHING:
        return unstored_expects_rest(board, index, fd);
    default:
        return EXPECTS_NOTHING;
    }
}

/* In which protocol: if nothing was read, the bytes that wait tell it. */
static enum protocol unstored_protocol(const struct unstored *about, uint32_t index, int fd)
{
    enum protocol noted = PROTOCOL_AUTO;
    if (index < SLOTS_MAX && scoreboard_first(about->board, index) != FIRST_NONE) {
        noted = (enum protocol)atomic_load_explicit(&about->board->slots[index].protocol, memory_order_relaxed);
    }
    return noted != PROTOCOL_AUTO ? noted : peek_protocol(fd, about->protocol);
}

/* Not what the worker has counted, nor what is no request (slot.pending). Its clock is not known. */
static void unstored_count(const struct unstored *about, uint32_t index, enum protocol protocol,
                           const struct error *err)
{
    struct tally *tally = &about->board->tally;
    struct scoreboard_slot *slot = index < SLOTS_MAX ? &about->board->slots[index] : NULL;
    bool is_replying = slot != NULL && slot_state(slot) == SLOT_REPLYING;
    if (is_replying && atomic_load_explicit(&slot->pending, memory_order_relaxed) == 0) {
        return;
    }
    const struct tally_request request = {.pending = 1 + tally_row(tally, err->category, view_of(err->type))};
    tally_count(tally, protocol, &request, 0, TALLY_NO_SLOT, NULL);
}

static void unstored_send(const struct unstored *about, uint32_t index, int fd, bool was_running)
{
    struct error err;
    unsigned char bytes[REPLY_FAILURE_SIZE];
    struct buffer out = buffer_fixed(bytes, sizeof bytes);
    if (was_running) {
        error_set_processing(&err, "WorkerCrashed", "%s", about->running);
    } else {
        error_set(&err, ERR_SERVER, 0, "%s", about->unread);
    }
    enum protocol protocol = unstored_protocol(about, index, fd);
    unstored_count(about, index, protocol, &err);
    if (reply_failure(&out, protocol, &err) == BUFFER_OK) {
        (void)brief_send(fd, out.data, out.size);
    }
}

static bool unstored_answer_one(void *context, int fd)
{
    const struct unstored *about = context;
    uint32_t index = scoreboard_find(about->board, fd);
    if (index < SLOTS_MAX && atomic_load_explicit(&about->board->slots[index].stored, memory_order_relaxed) != 0) {
        return true;
    }
    if (index < SLOTS_MAX && atomic_load_explicit(&about->board->slots[index].kept, memory_order_relaxed) != 0) {
        (void)shutdown(fd, SHUT_RD); /* so that no next request arrives after the look */
    }
    enum unstored_expects expects = unstored_expects(about->board, index, fd);
    if (expects != EXPECTS_NOTHING) {
        unstored_send(about, index, fd, expects == EXPECTS_REPLY);
    }
    (void)hangup(&fd);
    return true;
}

void unstored_answer(const struct unstored *about)
{
    struct unstored known = *about;
    table_search(&known.listener, GAP_MAX, unstored_answer_one, &known);
}
