#include "server/outlet.h"

#include "base/log.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static void outlet_note(struct scoreboard_slot *slot, uint32_t left, enum slot_then then)
{
    atomic_store_explicit(&slot->left, left, memory_order_relaxed);
    atomic_store_explicit(&slot->then, (uint8_t)then, memory_order_relaxed);
}

/* A raw system call, since musl's sendmmsg() is a loop of sendmsg(). */
static long outlet_send_marked(struct scoreboard_outlet *outlet, int fd)
{
    long sent;
    do {
        sent = syscall(SYS_sendmmsg, fd, &outlet->message, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

static ssize_t outlet_send_plainly(int fd, const struct msghdr *message)
{
    ssize_t sent;
    do {
        sent = sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* For sandboxes without sendmmsg(): the reply counts as begun, but not complete, before each send, so a worker that is
 * killed in between leaves its client without a reply. */
static ssize_t outlet_send_unmarked(struct scoreboard *board, uint32_t index, uint32_t left, enum slot_then then,
                                    int fd, const struct msghdr *message)
{
    struct scoreboard_slot *slot = &board->slots[index];
    static bool told;
    if (!told) {
        told = true;
        log_warning(EVENT_RUNTIME_DEGRADED,
                    "sendmmsg is not allowed here: a worker that dies while it sends a reply may leave its client "
                    "without one");
    }
    uint32_t before = atomic_load_explicit(&slot->left, memory_order_relaxed);
    atomic_store_explicit(&slot->left, left, memory_order_release);
    ssize_t sent = outlet_send_plainly(fd, message);
    if (sent > 0) {
        tally_add(&board->tally.counts.sent, (uint64_t)sent);
        outlet_note(slot, left - (uint32_t)sent, then);
    } else {
        atomic_store_explicit(&slot->left, before, memory_order_relaxed);
    }
    return sent;
}

ssize_t outlet_send(struct scoreboard *board, uint32_t slot, enum slot_then then, int fd, struct iovec *parts,
                    size_t count)
{
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    if (board == NULL || slot >= SLOTS_MAX) {
        return outlet_send_plainly(fd, &message);
    }
    uint32_t left = 0;
    for (size_t i = 0; i < count; i++) {
        left += (uint32_t)parts[i].iov_len;
    }
    static bool missing;
    if (missing) {
        return outlet_send_unmarked(board, slot, left, then, fd, &message);
    }
    struct scoreboard_outlet *outlet = &board->outlet;
    outlet->message = (struct mmsghdr){.msg_hdr = message, .msg_len = OUTLET_UNSENT};
    outlet->before = atomic_load_explicit(&board->tally.counts.sent, memory_order_relaxed);
    outlet->left = left;
    outlet->then = (uint8_t)then;
    atomic_store_explicit(&outlet->slot, slot, memory_order_release);
    long done = outlet_send_marked(outlet, fd);
    int error = errno;
    ssize_t sent = done == 1 ? (ssize_t)outlet->message.msg_len : -1;
    if (sent > 0) {
        atomic_store_explicit(&board->tally.counts.sent, outlet->before + (uint64_t)sent, memory_order_relaxed);
        outlet_note(&board->slots[slot], left - (uint32_t)sent, then);
    }
    atomic_store_explicit(&outlet->slot, OUTLET_NO_SLOT, memory_order_release);
    if (done < 0 && (error == ENOSYS || error == EPERM)) {
        missing = true;
        return outlet_send_unmarked(board, slot, left, then, fd, &message);
    }
    errno = error;
    return sent;
}

struct outlet_progress outlet_progress(const struct scoreboard *board, uint32_t slot)
{
    const struct scoreboard_outlet *outlet = &board->outlet;
    uint32_t sent = outlet->message.msg_len;
    if (atomic_load_explicit(&outlet->slot, memory_order_acquire) == slot && sent > 0 && sent <= outlet->left) {
        return (struct outlet_progress){outlet->left - sent, (enum slot_then)outlet->then};
    }
    const struct scoreboard_slot *known = &board->slots[slot];
    return (struct outlet_progress){atomic_load_explicit(&known->left, memory_order_relaxed),
                                    (enum slot_then)atomic_load_explicit(&known->then, memory_order_relaxed)};
}
