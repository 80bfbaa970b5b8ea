#include "server/outlet.h"

#include "base/log.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not through libc: musl's sendmmsg() is a loop of sendmsg(). */
static long send_marked(struct status_outlet *outlet, int fd)
{
    long sent;
    do {
        sent = syscall(SYS_sendmmsg, fd, &outlet->message, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

static ssize_t send_plainly(int fd, const struct msghdr *message)
{
    ssize_t sent;
    do {
        sent = sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* Without the system call the reply counts as begun before it is. */
static ssize_t send_unmarked(struct status_slot *slot, int fd, const struct msghdr *message)
{
    static bool told;
    if (!told) {
        told = true;
        log_warning("sendmmsg is not allowed here: a worker that dies while it sends a reply may leave its client "
                    "without one");
    }
    (void)slot_move(slot, SLOT_REPLYING, SLOT_SENT);
    ssize_t sent = send_plainly(fd, message);
    if (sent <= 0) {
        int error = errno;
        (void)slot_move(slot, SLOT_SENT, SLOT_REPLYING);
        errno = error;
    }
    return sent;
}

ssize_t outlet_send(struct status_page *page, uint32_t slot, int fd, struct iovec *parts, size_t count)
{
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    if (page == NULL || slot >= SLOTS_MAX) {
        return send_plainly(fd, &message);
    }
    static bool missing;
    if (missing) {
        return send_unmarked(&page->slots[slot], fd, &message);
    }
    struct status_outlet *outlet = &page->outlet;
    outlet->message = (struct mmsghdr){.msg_hdr = message, .msg_len = OUTLET_UNSENT};
    atomic_store_explicit(&outlet->slot, slot, memory_order_release);
    long done = send_marked(outlet, fd);
    int error = errno;
    ssize_t sent = done == 1 ? (ssize_t)outlet->message.msg_len : -1;
    if (sent > 0) {
        (void)slot_move(&page->slots[slot], SLOT_REPLYING, SLOT_SENT);
    }
    atomic_store_explicit(&outlet->slot, OUTLET_NO_SLOT, memory_order_release);
    if (done < 0 && (error == ENOSYS || error == EPERM)) {
        missing = true;
        return send_unmarked(&page->slots[slot], fd, &message);
    }
    errno = error;
    return sent;
}

bool outlet_has_sent(const struct status_page *page, uint32_t slot)
{
    const struct status_outlet *outlet = &page->outlet;
    return atomic_load_explicit(&outlet->slot, memory_order_acquire) == slot &&
           outlet->message.msg_len != OUTLET_UNSENT && outlet->message.msg_len > 0;
}
