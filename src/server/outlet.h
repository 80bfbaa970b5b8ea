/*
 * The outlet: sending a reply so that the supervisor knows afterwards how much of it went out, to the byte.
 *
 * A worker may be killed between the system call that sends and any mark it could set. So the kernel sets the mark:
 * sendmmsg() writes the bytes it has sent into msg_len of its argument, which lies in the scoreboard, before it
 * returns to the process, and a signal, SIGKILL as well, ends a process only there. Beside it stands what is given to
 * the kernel, and what the connection becomes if it takes all of that; the slot keeps both from one send to the next:
 *
 *   outlet: left, then    outlet: slot    sendmmsg    slot: left, then    outlet: no slot
 *   |--- the slot tells ----------------------------|--- the outlet does: left - msg_len ---|--- the slot tells again
 *
 * Costs 0.2 us more than send(); a pipe and splice(), which would tell the same, 1.5 us
 * (docs/decisions/0011-connections-of-a-dead-worker.md).
 */
#ifndef ASYA_SERVER_OUTLET_H
#define ASYA_SERVER_OUTLET_H

#include "server/scoreboard.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Before the first send of a reply: not one byte of it is out. */
static inline void outlet_begin(struct scoreboard_slot *slot)
{
    atomic_store_explicit(&slot->left, LEFT_ALL, memory_order_relaxed);
}

/* Sends parts[0..count), which is all that is to go out by now, on `fd` as far as it goes without waiting, and notes in
 * `slot`, whose state is REPLYING or PUSHING, how much is left; if nothing is, the connection is `then`. A slot beyond
 * SLOTS_MAX, or a scoreboard that is NULL: nobody looks. Returns the bytes sent, or -1 with errno as sendmsg() does;
 * EINTR is not returned. */
ssize_t outlet_send(struct scoreboard *board, uint32_t slot, enum slot_then then, int fd, struct iovec *parts,
                    size_t count);

struct outlet_progress {
    uint32_t left; /* bytes to go of what has begun to go out; LEFT_ALL: nothing of the reply has */
    enum slot_then
        then; /* what the connection is if nothing is left. Not one of them where the scoreboard was overwritten */
};

/* For the supervisor, once the worker sends nothing on this connection any more: it is dead, or the slot's state is one
 * in which it does not. */
struct outlet_progress outlet_progress(const struct scoreboard *board, uint32_t slot);

#endif
