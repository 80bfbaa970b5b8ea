/*
 * The outlet: sends a reply so that the supervisor knows afterwards, to the byte, how much of it went out.
 *
 * A worker may be killed between the system call that sends and anything it could note afterwards. So the kernel makes
 * the note: sendmmsg() writes the number of bytes sent into msg_len of its argument, which lies on the scoreboard. It
 * does so before it returns to the process, and a signal, even SIGKILL, ends a process only after that. Beside msg_len
 * stand `left`, the bytes given to the kernel in this call, and `then`, what the connection becomes once all of them
 * are out. The slot keeps both between two sends. The supervisor reads either the slot or the outlet, depending on how
 * far the worker has come:
 *
 *   outlet: left, then    outlet: slot    sendmmsg    slot: left, then    outlet: no slot
 *   |--- the slot tells ----------------------------|--- the outlet does: left - msg_len ---|--- the slot tells again
 *
 * This costs 0.2 us more than send(). A pipe and splice() would tell the same and cost 1.5 us
 * (docs/decisions/0011-connections-of-a-dead-worker.md).
 */
#ifndef ASYA_SERVER_OUTLET_H
#define ASYA_SERVER_OUTLET_H

#include "server/scoreboard.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* To be called before the first send of a reply: no byte of it was sent. */
static inline void outlet_begin(struct scoreboard_slot *slot)
{
    atomic_store_explicit(&slot->left, LEFT_ALL, memory_order_relaxed);
}

/* Sends parts[0..count), which must be all that is to be sent for now, on `fd`, as far as that works without waiting.
 * Notes in `slot`, whose state must be REPLYING or PUSHING, how much is left, and that the connection is `then` once
 * nothing is. If `board` is NULL or `slot` is not below SLOTS_MAX, nothing is noted. Returns the bytes sent, or -1 with
 * errno as sendmsg() does, but never EINTR. */
ssize_t outlet_send(struct scoreboard *board, uint32_t slot, enum slot_then then, int fd, struct iovec *parts,
                    size_t count);

struct outlet_progress {
    uint32_t left;       /* bytes still to be sent of what was begun; LEFT_ALL: no byte of the reply was sent */
    enum slot_then then; /* what the connection is once nothing is left; an undefined value if overwritten */
};

/* For the supervisor, when the worker cannot be sending on this connection: it is dead, or the slot's state is one in
 * which it does not send. */
struct outlet_progress outlet_progress(const struct scoreboard *board, uint32_t slot);

#endif
