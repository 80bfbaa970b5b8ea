/*
 * The outlet: sending a reply so that the supervisor knows afterwards whether a byte of it went out.
 *
 * A worker may be killed between the system call that sends and any mark it could set. So the kernel sets the mark:
 * sendmmsg() writes the bytes it has sent into msg_len of its argument, which lies in the status page, before it
 * returns to the process, and a signal, SIGKILL as well, ends a process only there. Costs 0.2 us more than send(); a
 * pipe and splice(), which would tell the same, 1.5 us (docs/decisions/0011-connections-of-a-dead-worker.md).
 */
#ifndef ASYA_SERVER_OUTLET_H
#define ASYA_SERVER_OUTLET_H

#include "server/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Sends parts[0..count) on `fd` as far as they go without waiting. `slot`, whose state is REPLYING, becomes SENT when a
 * byte is out; NULL, or a page that is NULL: nobody looks. Returns the bytes sent, or -1 with errno as sendmsg() does;
 * EINTR is not returned. */
ssize_t outlet_send(struct status_page *page, uint32_t slot, int fd, struct iovec *parts, size_t count);

/* For the supervisor, once the worker is dead: has a byte gone out of the reply whose slot is REPLYING? */
bool outlet_has_sent(const struct status_page *page, uint32_t slot);

#endif
